"""Is the process of this container at work? Exit code 0: yes. The word says how to ask.

http      the API answers
database  a connection of this container has finished a statement within half a minute: the loop turns
broker    the Celery worker of this container answers a ping
"""

from __future__ import annotations

import socket
import sys
from urllib.request import urlopen

from core.settings import Settings

NAME = "crontalk health"
TURNED = (
    "SELECT count(*) FROM pg_stat_activity WHERE starts_with(application_name, 'crontalk ')"
    " AND application_name <> %s AND datname = current_database()"
    " AND client_addr IS NOT DISTINCT FROM inet_client_addr()"
    " AND state_change > now() - interval '30 seconds'"
)


def http(settings: Settings) -> bool:
    with urlopen(f"http://127.0.0.1:{settings.port}/health/live", timeout=5) as answer:  # nosec B310 # our own address
        return bool(answer.status == 200)


def database(settings: Settings) -> bool:
    import psycopg

    url = (settings.database_url or "").replace("postgresql+psycopg://", "postgresql://", 1)
    with psycopg.connect(url, connect_timeout=5, application_name=NAME) as connection:
        row = connection.execute(TURNED, [NAME]).fetchone()
    return bool(row and row[0])


def broker(settings: Settings) -> bool:
    from core.publisher import broker_app

    here = f"@{socket.gethostname()}"
    with broker_app(settings.redis_url or "") as app:
        answers = app.control.ping(timeout=3)
    return any(name.endswith(here) for answer in answers for name in answer)


WAYS = {"http": http, "database": database, "broker": broker}


def main(way: str) -> int:
    try:
        return 0 if WAYS[way](Settings()) else 1
    except Exception as error:  # noqa: BLE001 (whatever it is, the answer is no)
        print(type(error).__name__, file=sys.stderr)  # noqa: T201 (seen in `docker inspect`)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
