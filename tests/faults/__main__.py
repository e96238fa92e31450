"""The table: plant each fault, and say which properties rejected it."""

from ..op_table import ROWS
from . import FAULTS, rejections


def main() -> None:
    """Print the table: plant each fault, and say which properties rejected it."""
    for fault in FAULTS:
        with fault.plant():
            caught = rejections(ROWS[fault.op], fault.device)
        print(f"{fault.op:<18}{fault.name}")
        print(f"{'':<18}  seen in    {fault.seen_in}")
        print(f"{'':<18}  caught by  {', '.join(caught).replace('_', ' ') or 'NOTHING'}")
    print(f"{len(FAULTS)} faults in {len({fault.op for fault in FAULTS})} ops")


main()
