"""Calls of nameko's own client, measured beside ours by `transports`.

Says ``ready``; answers each line ``IN_FLIGHT BYTES MILLISECONDS`` by calls per second, median microseconds of a call (one at a
time only), and microseconds of processor time per call. More than one in flight is as many calls, and then their results.
"""
import statistics
import sys
import time

from nameko.standalone.rpc import ClusterRpcProxy


def measure(echo, in_flight, argument, limit):
    began, cpu, latencies, calls = time.monotonic(), time.process_time(), [], 0
    while time.monotonic() - began < limit:
        if in_flight == 1:
            sent = time.monotonic()
            echo(argument)
            latencies.append(time.monotonic() - sent)
        else:
            for reply in [echo.call_async(argument) for _ in range(in_flight)]:
                reply.result()
        calls += in_flight
    took, cpu = time.monotonic() - began, time.process_time() - cpu
    median = statistics.median(latencies) * 1e6 if latencies else float("nan")
    return calls / took, median, cpu / calls * 1e6


def main():
    with ClusterRpcProxy({"AMQP_URI": sys.argv[1]}) as cluster:
        echo = cluster.compare_echo.echo
        print("ready", flush=True)
        for line in sys.stdin:
            in_flight, size, milliseconds = map(int, line.split())
            measure(echo, in_flight, "x" * size, milliseconds / 3000)
            print(*measure(echo, in_flight, "x" * size, milliseconds / 1000), flush=True)


if __name__ == "__main__":
    main()
