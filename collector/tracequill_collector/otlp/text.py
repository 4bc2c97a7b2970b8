"""A trace request in protobuf whose texts are not UTF-8 becomes one whose texts are.

Bytes enter and leave; every text that is not UTF-8 has U+FFFD where it is not, all else is as it
was. Protobuf refuses such a request whole, while senders and gateways that do not check make one by
cutting a text in the middle of a character. No input or output.

It reads the request as if every text were bytes: by descriptors of OTLP with the type changed.
"""

from __future__ import annotations

from functools import lru_cache

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

_REQUEST = trace_service_pb2.ExportTraceServiceRequest.DESCRIPTOR.full_name


def with_utf8_texts(payload: bytes) -> bytes:
    """Give *payload* with every text in UTF-8; a DecodeError when it is no request even so."""
    request_class, texts = _request_with_bytes()
    request = request_class.FromString(payload)
    _repair(request, texts)
    return request.SerializeToString()


@lru_cache(maxsize=1)
def _request_with_bytes() -> tuple[type[Message], frozenset[str]]:
    """Give the class of requests without texts, and the names of the fields that were texts."""
    pool = DescriptorPool()
    texts: set[str] = set()
    for module in (common_pb2, resource_pb2, trace_pb2, trace_service_pb2):
        file = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        for message in file.message_type:
            _without_texts(message, f"{file.package}.{message.name}", texts)
        pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(_REQUEST)), frozenset(texts)


def _without_texts(message: DescriptorProto, name: str, texts: set[str]) -> None:
    for field in message.field:
        if field.type == FieldDescriptorProto.TYPE_STRING:
            field.type = FieldDescriptorProto.TYPE_BYTES
            texts.add(f"{name}.{field.name}")
    for nested in message.nested_type:
        _without_texts(nested, f"{name}.{nested.name}", texts)


def _repair(message: Message, texts: frozenset[str]) -> None:
    for field, value in message.ListFields():
        if field.full_name in texts:
            if field.is_repeated:
                value[:] = [_utf8(item) for item in value]
            else:
                setattr(message, field.name, _utf8(value))
        elif field.message_type is not None:
            for item in value if field.is_repeated else (value,):
                _repair(item, texts)


def _utf8(text: bytes) -> bytes:
    return text.decode("utf-8", "replace").encode()
