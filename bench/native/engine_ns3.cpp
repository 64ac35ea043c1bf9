// The whole engine of ns-3 with its default scheduler (a map): engine_ns3 PENDING EVENTS. Every event schedules itself again.
#include "common.h"

#include <ns3/nstime.h>
#include <ns3/simulator.h>

static const uint32_t *increments;
static uint32_t drawn;
static uint32_t checksum;
static uint64_t executed;
static uint64_t warm;
static uint64_t last;
static double start_ns;
static double spent_ns;

static void Run(uint32_t target) {
  checksum = mix(checksum, (uint32_t)ns3::Simulator::Now().GetNanoSeconds() + target);
  executed++;
  if (executed == warm) start_ns = cpu_ns();
  if (executed == last) {
    spent_ns = cpu_ns() - start_ns;
    ns3::Simulator::Stop();
  }
  ns3::Simulator::Schedule(ns3::NanoSeconds(increments[drawn++ % INCREMENTS]), &Run, target);
}

int main(int count, char **values) {
  const uint64_t pending = argument(count, values, 1);
  const uint64_t events = argument(count, values, 2);
  warm = events / 2;
  last = warm + events;
  increments = exponential_increments(1e8);
  for (uint64_t i = 0; i < pending; i++) {
    ns3::Simulator::Schedule(ns3::NanoSeconds(increments[drawn++ % INCREMENTS]), &Run, (uint32_t)i);
  }
  ns3::Simulator::Run();
  printf("{\"checksum\":\"%u\",\"figures\":{\"eventNs\":%.3f}}\n", checksum, spent_ns / (double)events);
  ns3::Simulator::Destroy();
}
