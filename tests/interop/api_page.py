"""docs/api.md, made of the comments of `proto/`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from grpc_tools import protoc

from stubs import PROTO

FILES = [f"userlookup/v1/{name}.proto" for name in ["user_service", "admin_service", "user", "error_reason"]]
SCALARS = {number: name.removeprefix("TYPE_").lower() for name, number in FieldDescriptorProto.Type.items()}
HEAD = """# API

<!-- Made by `tests/run pages` from the comments in proto/; not to be edited. -->

The contract `userlookup.v1`, as [proto/userlookup/v1/](../proto/userlookup/v1/) has it. What each error reason means for
a caller and an operator is in [troubleshooting.md](troubleshooting.md); clients in five languages are in
[examples/](../examples/README.md). The same port serves `grpc.health.v1.Health` and, unless `reflection` is off,
reflection v1 and v1alpha, neither of which asks for credentials.
"""


def render(directory: Path) -> str:
    """The page."""
    out = directory / "descriptors.binpb"
    flags = [f"-I{PROTO}", f"-I{Path(protoc.__file__).parent / '_proto'}", "--include_source_info"]
    assert protoc.main(["protoc", *flags, f"--descriptor_set_out={out}", *FILES]) == 0
    files = FileDescriptorSet.FromString(out.read_bytes()).file
    files = sorted(files, key=lambda file: FILES.index(file.name))
    return "\n".join([HEAD, *(line for file in files for line in Page(file).lines())]).rstrip() + "\n"


class Page:
    """One file's part of the page."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._file = file
        places = file.source_code_info.location
        self._comments = {tuple(place.path): place.leading_comments for place in places}

    def lines(self) -> Iterator[str]:
        for at, service in enumerate(self._file.service):
            yield from self._service(service, (6, at))
        for at, message in enumerate(self._file.message_type):
            yield from self._message(message, (4, at))
        for at, enum in enumerate(self._file.enum_type):
            yield from self._enum(enum, (5, at))

    def _service(self, service: ServiceDescriptorProto, path: tuple[int, ...]) -> Iterator[str]:
        yield f"## {service.name}\n"
        yield f"{self._paragraphs(path)}\n"
        for at, method in enumerate(service.method):
            asked, answered = (link(name) for name in [method.input_type, method.output_type])
            yield f"### {service.name}/{method.name}\n\n{asked} → {answered}\n"
            yield f"{self._paragraphs((*path, 2, at))}\n"

    def _message(self, message: DescriptorProto, path: tuple[int, ...]) -> Iterator[str]:
        yield f"### {message.name}\n\n{self._paragraphs(path)}\n"
        yield "| field | type | |\n| --- | --- | --- |"
        for at, field in enumerate(message.field):
            choice = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
            one_of = f" One of `{choice}`: {self._line((*path, 8, field.oneof_index))}" if choice else ""
            yield f"| `{field.name}` | {kind(field, message)} | {self._line((*path, 2, at))}{one_of} |"
        yield ""

    def _enum(self, enum: EnumDescriptorProto, path: tuple[int, ...]) -> Iterator[str]:
        yield f"### {enum.name}\n\n{self._paragraphs(path)}\n"
        yield "| value | |\n| --- | --- |"
        for at, value in enumerate(enum.value):
            yield f"| `{value.name}` | {self._line((*path, 2, at))} |"
        yield ""

    def _line(self, path: tuple[int, ...]) -> str:
        return " ".join(self._comments[path].split())

    def _paragraphs(self, path: tuple[int, ...]) -> str:
        return "\n".join(line.strip() for line in self._comments[path].strip().splitlines())


def kind(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    name = link(field.type_name) if field.type_name else SCALARS[field.type]
    if entry := entry_of(field, message.nested_type):
        key, value = (SCALARS[part.type] for part in entry.field)
        return f"map of {key} to {value}"
    return f"repeated {name}" if field.label == FieldDescriptorProto.LABEL_REPEATED else name


def entry_of(field: FieldDescriptorProto, nested: Sequence[DescriptorProto]) -> DescriptorProto | None:
    entries = [entry for entry in nested if entry.options.map_entry]
    return next((entry for entry in entries if field.type_name.endswith(f".{entry.name}")), None)


def link(name: str) -> str:
    short = name.removeprefix(".userlookup.v1.")
    return f"[{short}](#{short.lower()})" if short != name else f"`{name.removeprefix('.')}`"
