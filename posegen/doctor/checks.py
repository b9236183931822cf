"""The list of what is looked at, in the order it is told. A new check is a function and one line here."""

from posegen.doctor.bell import check_redis
from posegen.doctor.cards import TORCH_S, check_cards
from posegen.doctor.database import check_database
from posegen.doctor.examining import Check
from posegen.doctor.hosted import check_endpoint
from posegen.doctor.machine import check_disk, check_limits, check_port, check_python
from posegen.doctor.pictures import check_storage
from posegen.doctor.settings_checks import check_secrets, check_settings
from posegen.doctor.weights import check_hub, check_licence, check_weights_here

CHECKS = (
    Check(name="settings", ask=check_settings),
    Check(name="secrets", ask=check_secrets),
    Check(name="python", ask=check_python),
    Check(name="cards", ask=check_cards, within_s=TORCH_S + 10),
    Check(name="weights", ask=check_weights_here, within_s=60),
    Check(name="licence", ask=check_licence),
    Check(name="hub", ask=check_hub, within_s=30),
    Check(name="endpoint", ask=check_endpoint),
    Check(name="database", ask=check_database, within_s=40),
    Check(name="redis", ask=check_redis),
    Check(name="storage", ask=check_storage, within_s=40),
    Check(name="port", ask=check_port),
    Check(name="disk", ask=check_disk),
    Check(name="limits", ask=check_limits),
)
