"""The pose library as data files; `posegen.poses.library_files` reads them."""
