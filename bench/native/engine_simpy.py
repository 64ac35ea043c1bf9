"""SimPy: engine_simpy PENDING EVENTS INCREMENTS. Every process waits again and again for the next time of a file."""
import array
import sys
import time

import simpy

pending, events = int(sys.argv[1]), int(sys.argv[2])
increments = array.array("I")
with open(sys.argv[3], "rb") as file:
    increments.frombytes(file.read())
mask = len(increments) - 1
env = simpy.Environment()
drawn = 0
checksum = 0


def process(target):
    global drawn, checksum
    while True:
        increment = increments[drawn & mask]
        drawn += 1
        yield env.timeout(increment)
        checksum = (checksum * 31 + env.now + target) & 0xFFFFFFFF


for i in range(pending):
    env.process(process(i))
step = env.step
for _ in range(pending + events // 2):
    step()
start = time.process_time_ns()
for _ in range(events):
    step()
spent = time.process_time_ns() - start
print('{"checksum":"%d","figures":{"eventNs":%.3f}}' % (checksum, spent / events))
