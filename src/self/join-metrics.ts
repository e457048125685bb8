// How the parents of server spans were found, what kept or parted traces, and what became of the search for clients on other hosts. In: the numbers of
// the pipeline. Out: series in a Counters, and the histogram of the waits.
import type { Pipeline } from '../pipeline.js';
import type { MetricFamily } from '../signals/metric-model.js';
import { JOIN_OUTCOMES } from '../traces/remote-joins.js';
import { TAIL_CAUSES } from '../traces/tail.js';
import type { Counters } from './counters.js';

export function observeJoins(counters: Counters, { serverParents, remoteJoins, traceLimits, tail }: Pipeline): void {
  for (const evidence of Object.keys(serverParents) as (keyof typeof serverParents)[]) {
    counters.observe('underspan.server_spans.joined', evidence, () => serverParents[evidence]);
  }
  counters.observe('underspan.traces.detached', '', () => traceLimits.refused);
  if (tail !== null) {
    for (const cause of TAIL_CAUSES) counters.observe('underspan.traces.kept', cause, () => tail.found[cause]);
  }
  if (remoteJoins === null) return;
  for (const outcome of JOIN_OUTCOMES.offers) {
    counters.observe('underspan.joins.offered', outcome, () => remoteJoins.offers[outcome]);
  }
  for (const outcome of JOIN_OUTCOMES.questions) {
    counters.observe('underspan.joins.asked', outcome, () => remoteJoins.questions[outcome]);
  }
  counters.observe('underspan.joins.waiting', '', () => remoteJoins.waiting);
}

export function joinFamilies({ remoteJoins, joinWaits }: Pipeline, startNs: number): MetricFamily[] {
  if (remoteJoins === null) return [];
  return [
    {
      name: 'underspan.joins.wait',
      unit: 's',
      description: 'From the question after a client on another host to the answer.',
      type: 'histogram',
      points: [{ service: null, attributes: [], startNs, value: joinWaits.value() }],
    },
  ];
}
