// `underspan doctor --pid` inside a guest: nothing is lost on these kernels, and of the process it says what the agent
// does there. In: a process and what is expected of its lines. Out: what is wrong, one line each.
import { runUnderspan } from '../support/agent.js';

interface Line {
  readonly group: string;
  readonly name: string;
  readonly state: string;
  readonly detail: string;
}

/** `expected`: by the name of the line about the process, how it reads: state and detail. */
export async function askDoctor(
  frontEnd: string,
  pid: number,
  expected: Readonly<Record<string, RegExp>>,
): Promise<string[]> {
  const told = await runUnderspan(['doctor', '--json', '--pid', String(pid)], {
    UNDERSPAN_KERNEL_FRONT_END: frontEnd,
  });
  if (told.exitCode !== 0) return [`the doctor: ${told.describe()}`];
  const { checks } = JSON.parse(told.stdout) as { readonly checks: readonly Line[] };
  const lost = checks.filter(({ state }) => state === 'lost').map(({ name, detail }) => `lost: ${name}: ${detail}`);
  const own = checks.filter(({ group }) => group === `process ${pid}`);
  const wrong = Object.entries(expected)
    .map(([name, form]) => ({ name, form, said: own.filter(line => line.name === name).map(textOf) }))
    .filter(({ form, said }) => !said.some(text => form.test(text)))
    .map(({ name, form, said }) => `of ${name} it says '${said.join(', ')}', not ${form}`);
  return [...lost, ...wrong].map(fault => `the doctor: ${fault}`);
}

function textOf({ state, detail }: Line): string {
  return `${state}: ${detail}`;
}
