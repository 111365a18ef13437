"""A client of gRPC that knows no service but reflection: what it calls it learns from the server."""

import json

import grpc
from google.protobuf import descriptor_pool, message_factory, unknown_fields
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

SERVICE = "trueup.v1.Features"
HEALTH = "grpc.health.v1.Health"


class Bearer(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Sends a token with every call."""

    def __init__(self, token):
        self.metadata = [("authorization", f"Bearer {token}")]

    def intercept_unary_unary(self, go, details, request):
        return go(details._replace(metadata=self.metadata), request)

    intercept_unary_stream = intercept_unary_unary
    intercept_stream_stream = intercept_unary_unary


def message_class(descriptor):
    return message_factory.GetMessageClass(descriptor)


class Client:
    def __init__(self, address, token=None, options=()):
        self.channel = grpc.insecure_channel(address, options=list(options))
        if token:
            self.channel = grpc.intercept_channel(self.channel, Bearer(token))
        self.told = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = descriptor_pool.DescriptorPool(self.told)
        self.seen = set()

    def services(self):
        return sorted(self.told.get_services())

    def method(self, service, name):
        described = self.pool.FindServiceByName(service)
        return described.FindMethodByName(name)

    def message(self, method, value):
        """The message that a method takes, of plain values by its members' names."""
        return filled(message_class(method.input_type)(), value)

    def callable(self, method):
        return self.channel.unary_unary(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_class(method.output_type).FromString,
        )

    def call(self, name, value, timeout=60, service=SERVICE):
        method = self.method(service, name)
        request = self.message(method, value)
        reply = self.callable(method)(request, timeout=timeout)
        for message in (request, reply):
            look_at(message, self.seen)
        return reply

    def watch(self):
        method = self.method(HEALTH, "Watch")
        watching = self.channel.unary_stream(
            f"/{HEALTH}/Watch",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_class(method.output_type).FromString,
        )
        return watching(self.message(method, {}))

    def members(self):
        """The full names of all members of our messages."""
        file = self.pool.FindFileContainingSymbol(SERVICE)
        return {
            field.full_name
            for message in file.message_types_by_name.values()
            for field in message.fields
        }


def filled(message, value):
    for name, part in value.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        if field.message_type is None:
            if field.is_repeated:
                getattr(message, name).extend(part)
            else:
                setattr(message, name, part)
        else:  # rows
            for row in part:
                put_row(getattr(message, name).add(), row)
    return message


def put_row(message, row):
    for name, value in row.items():
        put(message.values[name], value)


def put(message, value):
    """A value by its type in Python; None is a value without a kind."""
    if isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, int):
        message.int64_value = value
    elif isinstance(value, float):
        message.double_value = value
    elif isinstance(value, str):
        message.string_value = value
    elif isinstance(value, list):
        message.list_value.SetInParent()
        for item in value:
            put(message.list_value.values.add(), item)
    else:
        assert value is None, value
        message.SetInParent()


def plain(message):
    """A value as JSON's would be."""
    kind = message.WhichOneof("kind")
    if kind is None:
        return None
    if kind == "list_value":
        return [plain(item) for item in message.list_value.values]
    return getattr(message, kind)


def word(message, name):
    """The word of a member that is an enumeration."""
    kind = message.DESCRIPTOR.fields_by_name[name].enum_type
    return kind.values_by_number[getattr(message, name)].name


def row_of(message):
    """A row as HTTP has it in JSON."""
    row = {
        "features": {name: plain(value) for name, value in message.features.items()},
        "status": word(message, "status"),
        "as_of": dict(message.as_of),
    }
    enums = message.DESCRIPTOR.enum_types_by_name
    if message.statuses:
        names = enums["Status"].values_by_number
        row["statuses"] = {name: names[at].name for name, at in message.statuses.items()}
    names = enums["Source"].values_by_number
    row["sources"] = {name: names[at].name.lower() for name, at in message.sources.items()}
    if message.reasons:
        row["reasons"] = dict(message.reasons)
    if message.defaulted:
        row["defaulted"] = list(message.defaulted)
    if message.recorded:
        row["recorded"] = word(message, "recorded").lower()
    for name in ("event_time", "refused"):
        if message.HasField(name):
            row[name] = getattr(message, name)
    if message.HasField("explain"):
        row["explain"] = json.loads(message.explain)
    return row


def look_at(message, seen):
    """Notes which members are set, and that there is nothing that the proto does not name."""
    assert not len(unknown_fields.UnknownFieldSet(message)), message
    for field, value in message.ListFields():
        seen.add(field.full_name)
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                for part in value.values():
                    look_at(part, seen)
        elif field.is_repeated:
            for part in value:
                look_at(part, seen)
        else:
            look_at(value, seen)
