// HOLD on std::priority_queue: queue PENDING HOLDS. Pops the earliest event and pushes it again after a drawn time.
#include "common.h"

#include <queue>
#include <vector>

struct Event {
  int64_t time_ns;
  uint64_t sequence;
  double payload;
  int32_t target;
  uint16_t kind;
};

struct Later {
  bool operator()(const Event &a, const Event &b) const {
    return a.time_ns != b.time_ns ? a.time_ns > b.time_ns : a.sequence > b.sequence;
  }
};

int main(int count, char **values) {
  const uint64_t pending = argument(count, values, 1);
  const uint64_t holds = argument(count, values, 2);
  const uint32_t *increments = exponential_increments(1e8);
  std::vector<Event> events;
  events.reserve(pending + 1);
  std::priority_queue<Event, std::vector<Event>, Later> queue(Later(), std::move(events));
  uint64_t sequence = 0;
  uint32_t drawn = 0;
  uint32_t checksum = 0;
  for (uint64_t i = 0; i < pending; i++) {
    queue.push({increments[drawn++ % INCREMENTS], sequence++, 0.5, (int32_t)i, (uint16_t)(i % 8)});
  }
  auto hold = [&](uint64_t times) {
    for (uint64_t i = 0; i < times; i++) {
      const Event event = queue.top();
      queue.pop();
      checksum = mix(checksum, (uint32_t)event.time_ns + event.kind);
      queue.push({event.time_ns + increments[drawn++ % INCREMENTS], sequence++, event.payload, event.target,
                  (uint16_t)((event.kind + 1) % 8)});
    }
  };
  hold(holds / 2); // the queue reaches its steady state
  const double start_ns = cpu_ns();
  hold(holds);
  const double spent_ns = cpu_ns() - start_ns;
  printf("{\"checksum\":\"%u\",\"figures\":{\"holdNs\":%.3f}}\n", checksum, spent_ns / (double)holds);
}
