"""Is everything in order, from the config file to a completion, and if not, what is the one thing to do?

`machine.py` looks at what lies on disk, `running.py` at a daemon that answers, `place.py` at one repository.
Each check is one line with one remedy; one that stumbles itself is a failed check, never a traceback.
"""

from mccomd.doctor.check import Check, healthy
from mccomd.doctor.machine import machine_checks
from mccomd.doctor.place import place_checks
from mccomd.doctor.running import connect, running_checks

__all__ = ["Check", "connect", "healthy", "machine_checks", "place_checks", "running_checks"]
