#!/usr/bin/env python
"""Call a method as programs do that know AMQP and not nameko: by pika, then by aio-pika.

    python nk_pika.py stock.level '["A1"]'

Output: {"pika": reply, "aio_pika": reply}. A reply is what the service sent, or {"returned": the broker's reason}.
"""
import asyncio
import json
import sys
import uuid

import aio_pika
import pika
from aio_pika.exceptions import DeliveryError
from pika.exceptions import UnroutableError

from nk_common import AMQP_URI

EXCHANGE = "nameko-rpc"
LIMIT = 10


def by_pika(target, body):
    connection = pika.BlockingConnection(pika.URLParameters(AMQP_URI))
    channel = connection.channel()
    channel.confirm_delivery()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, EXCHANGE, queue)
    call = pika.BasicProperties(content_type="application/json", correlation_id=str(uuid.uuid4()), reply_to=queue)
    try:
        channel.basic_publish(EXCHANGE, target, body, call, mandatory=True)
    except UnroutableError as error:
        return {"returned": error.messages[0].method.reply_text}
    for _, reply, content in channel.consume(queue, auto_ack=True, inactivity_timeout=LIMIT):
        assert reply.correlation_id == call.correlation_id
        connection.close()
        return json.loads(content)


async def by_aio_pika(target, body):
    async with await aio_pika.connect(AMQP_URI) as connection:
        channel = await connection.channel(on_return_raises=True)
        exchange = await channel.get_exchange(EXCHANGE)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, queue.name)
        call = aio_pika.Message(
            body, content_type="application/json", correlation_id=str(uuid.uuid4()), reply_to=queue.name
        )
        try:
            await exchange.publish(call, target, mandatory=True)
        except DeliveryError as error:
            return {"returned": error.frame.reply_text}
        async with queue.iterator(no_ack=True, timeout=LIMIT) as replies:
            async for reply in replies:
                assert reply.correlation_id == call.correlation_id
                return json.loads(reply.body)


def main():
    target, args = sys.argv[1:]
    body = json.dumps({"args": json.loads(args), "kwargs": {}}).encode()
    print(json.dumps({"pika": by_pika(target, body), "aio_pika": asyncio.run(by_aio_pika(target, body))}))


if __name__ == "__main__":
    main()
