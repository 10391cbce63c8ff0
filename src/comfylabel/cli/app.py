"""The command line. Each command imports what it runs, so that help, and small commands, are quick."""

import gc
import sys
from pathlib import Path
from typing import Annotated

import typer

from comfylabel.accounts.schemas import Role
from comfylabel.cli.running import UNUSABLE, configure_logs, run
from comfylabel.cli.settings import read_settings
from comfylabel.errors import ComfyLabelError, Unavailable

app = typer.Typer(
    name="comfylabel",
    help="Human preference data for image models, from many ComfyUI servers to trainer-ready DPO.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
users = typer.Typer(help="Who may sign in.", no_args_is_help=True)
app.add_typer(users, name="user")
partitions = typer.Typer(help="The months of the table of images.", no_args_is_help=True)
app.add_typer(partitions, name="partitions")

DataDir = Annotated[Path | None, typer.Option(help="Where the embedded database, the images and the secret key live.")]
Host = Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 for phones and other machines.")]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
Auth = Annotated[str | None, typer.Option(help="off signs everybody in as admin; on a loopback address only.")]


def main() -> None:
    gc.disable()  # until the command runs (running.run): imports make no garbage, and looking for it costs 12 % of them
    try:
        app()
    except ComfyLabelError as error:
        sys.stderr.write(f"{error.message}\n")
        sys.exit(UNUSABLE if error.status != Unavailable.status else 1)


@app.callback()
def before_every_command(
    *, quiet: Annotated[bool, typer.Option("--quiet", help="Log warnings and errors only.")] = False
) -> None:
    configure_logs(quiet=quiet)


@app.command()
def up(data_dir: DataDir = None, host: Host = None, port: Port = None, auth: Auth = None) -> None:
    """Everything on this machine: database, web server, orchestrator. Ctrl-C stops all of it."""
    from comfylabel.cli.up import up

    sys.exit(run(up(read_settings(data_dir=data_dir, host=host, port=port, auth=auth))))


@app.command()
def serve(
    data_dir: DataDir = None,
    host: Host = None,
    port: Port = None,
    auth: Auth = None,
    *,
    announce: Annotated[bool, typer.Option(help="Print a sign-in link.")] = True,
    listener: Annotated[int | None, typer.Option(hidden=True, help="A socket that `up` listens on.")] = None,
) -> None:
    """One web server. Start as many as you like on one DATABASE_URL."""
    from comfylabel.cli.serving import serve_on_database

    settings = read_settings(data_dir=data_dir, host=host, port=port, auth=auth)
    sys.exit(run(serve_on_database(settings, listener=listener, announce=announce)))


@app.command()
def orchestrate(data_dir: DataDir = None) -> None:
    """One orchestrator. Start as many as you like on one DATABASE_URL."""
    from comfylabel.cli.orchestrating import orchestrate_on_database

    sys.exit(run(orchestrate_on_database(read_settings(data_dir=data_dir))))


@app.command()
def migrate(data_dir: DataDir = None) -> None:
    """Bring the database to the schema of this version and make the months that it will need."""
    from comfylabel.cli.database import migrate_database

    sys.exit(run(migrate_database(read_settings(data_dir=data_dir))))


@app.command()
def simulate_worker(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8188,
    job_seconds: Annotated[float, typer.Option(min=0, help="How long one submission takes.")] = 1.0,
    vram_gb: Annotated[float, typer.Option(min=0.1, help="Decides when it runs out of memory.")] = 24.0,
    faults: Annotated[str, typer.Option(help="For example out_of_memory_above=600000,truncated_images=2")] = "",
    log: Annotated[Path | None, typer.Option(help="Append a JSON line for all that it is sent and does.")] = None,
) -> None:
    """A ComfyUI without a GPU, for trying things out. Its pictures say that they are simulated."""
    from comfylabel.cli.simulating import simulate_worker

    simulating = simulate_worker(host=host, port=port, job_seconds=job_seconds, vram_gb=vram_gb, faults=faults, log=log)
    sys.exit(run(simulating))


@users.command("add")
def add_user(name: str, role: Role = Role.ANNOTATOR, data_dir: DataDir = None) -> None:
    """A new user; prints the sign-in link to send them."""
    from comfylabel.cli.users import add_user

    sys.exit(run(add_user(read_settings(data_dir=data_dir), name, role)))


@users.command("list")
def list_users(data_dir: DataDir = None) -> None:
    """Everybody, with role."""
    from comfylabel.cli.users import list_users

    sys.exit(run(list_users(read_settings(data_dir=data_dir))))


@users.command("link")
def link_user(name: str, data_dir: DataDir = None) -> None:
    """A fresh sign-in link; the unused ones of before stop working."""
    from comfylabel.cli.users import link_user

    sys.exit(run(link_user(read_settings(data_dir=data_dir), name)))


@users.command("token")
def token_of_user(
    name: str,
    label: Annotated[str, typer.Option(help="What the token is for.")] = "command line",
    days: Annotated[int, typer.Option(min=1, max=3650, help="Until it expires.")] = 30,
    data_dir: DataDir = None,
) -> None:
    """Print an API token of that user, for COMFYLABEL_TOKEN or a script. Nobody can see it again."""
    from comfylabel.cli.users import token_of_user

    sys.exit(run(token_of_user(read_settings(data_dir=data_dir), name, label, days)))


Url = Annotated[str | None, typer.Option(help="Address of the server; this machine's own by default.")]
Token = Annotated[str | None, typer.Option(help="An admin's API token; COMFYLABEL_TOKEN by default.")]


@app.command()
def check(
    url: Url = None,
    token: Token = None,
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Store what was counted.")] = False,
) -> None:
    """Count images, answers and leases again and compare with the counters. Exits 1 where they differ."""
    from comfylabel.cli.maintaining import check

    sys.exit(run(check(url or read_settings().origin, token, repair=repair)))


@partitions.command("list")
def list_partitions(url: Url = None, token: Token = None) -> None:
    """The months that exist. Exits 1 where a row lies outside its month."""
    from comfylabel.cli.maintaining import list_partitions

    sys.exit(run(list_partitions(url or read_settings().origin, token)))


@partitions.command("repair")
def repair_partitions(url: Url = None, token: Token = None) -> None:
    """Move rows that lie outside their month. Locks the table of images meanwhile."""
    from comfylabel.cli.maintaining import repair_partitions

    sys.exit(run(repair_partitions(url or read_settings().origin, token)))


@app.command()
def demo(
    data_dir: Annotated[Path | None, typer.Option(help="Where the demo lives; its own directory by default.")] = None,
    port: Port = None,
    *,
    once: Annotated[bool, typer.Option("--once", help="Run the whole line without a person, check it, end.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only compare the files of an earlier --once again.")] = False,
    out: Annotated[Path | None, typer.Option(help="With --once: where dpo.jsonl and its images go.")] = None,
    prompts: Annotated[int, typer.Option(min=1, help="With --once.")] = 8,
    seeds: Annotated[int, typer.Option(min=2, max=1000, help="With --once: images a prompt.")] = 4,
) -> None:
    """Try everything without a GPU: two simulated workers, a workflow, pools and a task to label."""
    if not once and not check:
        from comfylabel.cli.demo import demo, demo_data_dir

        sys.exit(run(demo(read_settings(data_dir=data_dir or demo_data_dir(), port=port))))
    if out is None:
        raise typer.BadParameter("--once and --check need --out DIR.")
    from comfylabel.cli.demo_once import check_again, demo_once

    folder = out.expanduser().absolute()
    if check:
        sys.exit(run(check_again(folder)))
    sys.exit(run(demo_once(folder, prompts=prompts, seeds=seeds)))
