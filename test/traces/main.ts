// `npm run test:traces [-- WORDS]`: the correctness table. Starts each scenario's services and an agent over them, sends load,
// and counts how many spans hang below the right parent, below none, below a wrong one. Exit code 1 if one is wrong.

import { setTimeout as sleep } from 'node:timers/promises';
import { startAgent } from '../support/agent.js';
import { Chain, judgeSpans, type Verdict } from '../support/chain.js';
import { startOtlpReceiver } from '../support/otlp-receiver.js';
import { SCENARIOS, type Scenario } from './scenarios.js';

interface Row {
  readonly scenario: string;
  readonly concurrency: number;
  readonly link: string;
  readonly verdict: Verdict;
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
    const count = scenario.requests * Math.ceil(Math.sqrt(concurrency));
    await chain.load(entry, 1, count, concurrency);
    await sleep(600);
    await agent.stop();
    const judgement = judgeSpans(chain, receiver.spans(), entry);
    const rows = [...judgement.calls].map(([link, verdict]) => ({
      scenario: scenario.name,
      concurrency,
      link,
      verdict,
    }));
    rows.push({ scenario: scenario.name, concurrency, link: 'between processes', verdict: judgement.requests });
    const { background } = judgement;
    if (background.right + background.wrong > 0) {
      rows.push({ scenario: scenario.name, concurrency, link: 'without a request', verdict: background });
    }
    return rows;
  } finally {
    await chain.stop();
    await receiver.close();
  }
}

function percent(part: number, { right, none, wrong }: Verdict): string {
  const all = right + none + wrong;
  return all === 0 ? '-' : `${((100 * part) / all).toFixed(1)} %`;
}

async function main(words: readonly string[]): Promise<number> {
  let wrong = 0;
  console.log('| scenario | at a time | spans of | count | right | none | wrong | not judged |');
  console.log('|---|---|---|---|---|---|---|---|');
  for (const scenario of SCENARIOS) {
    if (words.length > 0 && !words.some(word => scenario.name.includes(word))) continue;
    for (const concurrency of scenario.concurrency) {
      for (const { link, verdict } of await play(scenario, concurrency)) {
        const all = verdict.right + verdict.none + verdict.wrong;
        const shares = [verdict.right, verdict.none, verdict.wrong].map(part => percent(part, verdict));
        console.log(`| ${[scenario.name, concurrency, link, all, ...shares, verdict.unjudged].join(' | ')} |`);
        for (const example of verdict.examples) console.error(`  wrong: ${example}`);
        wrong += verdict.wrong;
      }
    }
  }
  return wrong > 0 ? 1 : 0;
}

process.exitCode = await main(process.argv.slice(2));
