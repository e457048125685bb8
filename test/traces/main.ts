// `npm run test:traces [-- WORDS] [-- --write]`: the correctness table. Starts each scenario's services and an agent over them,
// sends load, and counts how many spans hang below the right parent, below none, below a wrong one. Exit code 1 if one is wrong in a
// scenario that is not known for that (tempting.ts).
// WORDS pick scenarios by name; --write puts the rows that were measured into README.md and leaves the others there.
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { startAgent } from '../support/agent.js';
import { Chain, judgeSpans, type Verdict } from '../support/chain.js';
import { startOtlpReceiver } from '../support/otlp-receiver.js';
import { SCENARIOS, type Scenario } from './scenarios.js';
import { SUMMARY_HEAD, summarize } from './summary.js';
import { BETWEEN, BY_ITSELF, changeTable, mergeRows, type Row, rowText, TABLE_HEAD } from './table.js';
import { WrongCounts } from './tempting.js';

const README = 'test/traces/README.md';
/** Until what the first requests show has led to something. */
const BEFORE_MS = 5000;
/** Those of Python's executors are followed at once. */
const FOLLOWED = /(?:queues of (?!.*_queue)|(?:channels|promises|wake-ups|requests) of ).* followed/;

/** Calls that the scenario's links make, by link: every request comes down the whole chain. */
function callsOf({ links }: Scenario, entry: string, requests: number): Map<string, number> {
  const asked = new Map([[entry, requests]]);
  const calls = new Map<string, number>();
  for (const [name, { calls: called = [] }] of Object.entries(links).reverse()) {
    const times = asked.get(name) ?? 0;
    calls.set(name, times * called.length);
    for (const other of called) asked.set(other, (asked.get(other) ?? 0) + times);
  }
  return calls;
}

async function play(scenario: Scenario, concurrency: number): Promise<Row[]> {
  const chain = new Chain();
  const receiver = await startOtlpReceiver({ grpc: true, http: false });
  try {
    let entry = '';
    for (const [name, options] of Object.entries(scenario.links)) {
      await chain.add(name, options);
      entry = name;
    }
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: chain.selection() });
    if (scenario.before !== undefined) {
      await chain.load(entry, 1, scenario.before, Math.min(concurrency, 10), 'before');
      for (let left = BEFORE_MS; left > 0 && !FOLLOWED.test(agent.child.stderr); left -= 50) await sleep(50);
      await sleep(200);
    }
    const count = scenario.requests * Math.ceil(Math.sqrt(concurrency));
    await chain.load(entry, 1, count, concurrency, 'c', scenario.headers?.());
    await sleep(600);
    await agent.stop();
    if (process.env.SHOW_AGENT !== undefined) console.error(agent.child.describe());
    const judgement = judgeSpans(chain, receiver.spans(), entry);
    const expected = callsOf(scenario, entry, count);
    const row = (link: string, verdict: Verdict, made: number): Row => {
      const seen = verdict.right + verdict.none + verdict.wrong + verdict.unjudged;
      return { scenario: scenario.name, concurrency, link, verdict, missing: made - seen };
    };
    const rows = [...judgement.calls].map(([link, verdict]) => row(link, verdict, expected.get(link) ?? 0));
    const all = [...expected.values()].reduce((sum, made) => sum + made, 0);
    rows.push(row(BETWEEN, judgement.requests, all));
    const { background } = judgement;
    if (background.right + background.wrong > 0)
      rows.push(row(BY_ITSELF, background, background.right + background.wrong));
    return rows;
  } finally {
    await chain.stop();
    await receiver.close();
  }
}

/** Puts them into the table, and makes the short one before it anew. */
function writeRows(rows: readonly Row[]): void {
  const scenarios = SCENARIOS.map(({ name }) => name);
  let all: readonly string[] = [];
  const text = changeTable(readFileSync(README, 'utf8'), TABLE_HEAD, known => {
    all = mergeRows(known, rows, scenarios);
    return all;
  });
  writeFileSync(
    README,
    changeTable(text, SUMMARY_HEAD, () => summarize(all)),
  );
}

async function main(words: readonly string[]): Promise<number> {
  const names = words.filter(word => word !== '--write');
  const counts = new WrongCounts();
  console.log(TABLE_HEAD);
  for (const scenario of SCENARIOS) {
    if (names.length > 0 && !names.some(word => scenario.name.includes(word))) continue;
    for (const concurrency of scenario.concurrency) {
      const rows = await play(scenario, concurrency);
      for (const row of rows) {
        console.log(rowText(row));
        for (const example of row.verdict.examples) console.error(`  wrong: ${example}`);
        counts.add(scenario.name, row.verdict.wrong);
      }
      if (words.includes('--write')) writeRows(rows);
    }
  }
  for (const name of counts.mended)
    console.error(
      `nothing was wrong in '${name}', which KNOWN_WRONG of tempting.ts lists: if that stays so, it has no place there`,
    );
  for (const name of counts.failed) console.error(`wrong in '${name}'`);
  return counts.failed.length > 0 ? 1 : 0;
}

process.exitCode = await main(process.argv.slice(2));
