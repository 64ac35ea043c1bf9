/** Policies that are wrong in one way each, to see that the suite finds it. */
import { choice, integer, ORDER_PAGES, type PolicyPlugin, policyPlugin, type Task, type Zone } from "../../../mod.ts";

/** What may be wrong with a policy. */
export type Fault = "nothing" | "keeps a block" | "reclaims what is not isolated" | "shares state" | "never rests";

interface ToldAtOnceOptions {
  readonly order: number;
  readonly action: "reclaim" | "skip";
}

/** Blocks that any policy with the fault "shares state" has told of, in every run of the process. */
let told = 0;

/** A policy that tells of each large block when it is freed, with one fault. */
export function broken(fault: Fault): PolicyPlugin {
  return policyPlugin<ToldAtOnceOptions>({
    name: "broken",
    summary: "each large block is told when it is freed",
    source: "a test",
    options: {
      fields: {
        order: integer(9, 0, 10, { summary: "smallest order told" }),
        action: choice<"reclaim" | "skip">("reclaim", ["reclaim", "skip"], { summary: "what the host may do" }),
      },
    },
    create: ({ driver, worker, sim }, { order: freeOrderMin, action }) => {
      const isolates = fault !== "reclaims what is not isolated";
      let kept = 0;
      function* tell(zone: Zone, pfn: number, order: number): Task {
        const { allocator } = zone;
        const range = { pfn, count: ORDER_PAGES[order] };
        if (allocator.orderAt(pfn) !== order || allocator.isReported(pfn, order) || !driver.accepts(range)) return;
        if (fault === "shares state" && ++told % 7 === 0) return;
        if (isolates && !driver.isolate(zone, pfn, order)) return;
        yield driver.commit();
        const done = yield* driver.send(action, [range]);
        if (!isolates) return;
        if (fault === "keeps a block" && kept++ === 0) return;
        driver.putBack(zone, pfn, order, done);
        yield driver.commit();
      }
      return {
        freeOrderMin,
        onFree: (zone, pfn, order) => worker.post(() => tell(zone, pfn, order)),
        idle: () => fault !== "never rests" && worker.idle,
        ...(fault !== "never rests" ? {} : {
          start: () => {
            const again = sim.register("again", () => sim.after(1e9, again));
            sim.after(1e9, again);
          },
        }),
      };
    },
  });
}
