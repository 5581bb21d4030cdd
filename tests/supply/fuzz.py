"""Runs every fuzz target for some seconds, and prints what each executed and covered.

python3 tests/supply/fuzz.py PROGRAMS WORK SECONDS

What a target finds is kept in WORK/corpus/ for the next run. An input that fails is in WORK/crashes/; copy it to
fuzz/crashes/TARGET/, and `cargo test` fails until it is fixed.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main(programs: str, work: str, seconds: str) -> None:
    targets = sorted(path.stem for path in (ROOT / "fuzz/fuzz_targets").glob("*.rs"))
    print("| target | executions | a second | edges covered | features | inputs kept |\n| --- | --- | --- | --- | --- | --- |")
    failed = [target for target in targets if not run(Path(programs) / target, Path(work), int(seconds))]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; see {work}/crashes/ and {work}/logs/")


def run(program: Path, work: Path, seconds: int) -> bool:
    name = program.name
    corpus, crashes, log = work / "corpus" / name, work / "crashes" / name, work / "logs" / name
    for folder in [corpus, crashes, log.parent]:
        folder.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds}", "-print_final_stats=1", "-timeout=10", f"-artifact_prefix={crashes}/"]
    # The first folder gets what is new; the others are only read.
    folders = [corpus, ROOT / "fuzz/corpus" / name, *filter(Path.exists, [ROOT / "fuzz/crashes" / name])]
    with log.open("w") as output:
        done = subprocess.run([program, *options, *folders], stdout=output, stderr=subprocess.STDOUT, cwd=work)
    print(row(name, log.read_text(errors="replace")), flush=True)
    return done.returncode == 0


def row(name: str, log: str) -> str:
    """Returns the last figures of libFuzzer's log."""
    covered = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", log) or [("-", "-", "-")]
    executed = re.findall(r"stat::number_of_executed_units:\s*(\d+)", log) or ["-"]
    pace = re.findall(r"stat::average_exec_per_sec:\s*(\d+)", log) or ["-"]
    return f"| {' | '.join([f'`{name}`', executed[-1], pace[-1], *covered[-1]])} |"


if __name__ == "__main__":
    os.environ.setdefault("RUST_BACKTRACE", "1")
    main(*sys.argv[1:])
