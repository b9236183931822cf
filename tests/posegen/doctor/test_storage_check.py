"""The picture store that cannot be written, and the one that is not the others'."""

from pathlib import Path

from support.examined import FAIL, OK, findings_of, said, subject_of
from support.house import House

from posegen.doctor.pictures import check_storage
from posegen.storage import Storage


def test_a_file_is_written_read_signed_for_and_nothing_of_it_stays(tmp_path: Path) -> None:
    subject = subject_of(tmp_path)
    subject.settings.storage_dir.mkdir(parents=True)

    found = findings_of(check_storage, subject)

    assert "a file was written, read, signed for and deleted" in said(found, OK)
    assert [path for path in subject.settings.storage_dir.rglob("*") if path.is_file()] == []


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    subject = subject_of(tmp_path)
    subject.settings.var_dir.mkdir()
    subject.settings.storage_dir.write_text("not a folder")

    assert "cannot be written and read" in said(findings_of(check_storage, subject), FAIL)


def test_a_folder_below_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("not a folder")

    assert "cannot be made" in said(findings_of(check_storage, subject_of(tmp_path)), FAIL)


def test_files_that_the_database_names_have_to_be_in_this_store(
    tmp_path: Path, house: House, database_url: str
) -> None:
    subject = subject_of(tmp_path, database_url=database_url)
    storage = Storage(subject.settings.storage_dir)
    with house.database.writing() as session:
        session.connection().exec_driver_sql("UPDATE poses SET preview_key = 'library/' || slug || '.png'")
    for number in range(4):
        storage.put(f"library/pose-{number}.png", b"a picture")
    assert "4 files that the database names are here" in said(findings_of(check_storage, subject), OK)

    storage.delete("library/pose-2.png")
    assert "1 of 4 files that the database names are not in" in said(findings_of(check_storage, subject), FAIL)
