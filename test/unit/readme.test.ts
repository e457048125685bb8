// What README.md and CONTRIBUTING.md tell people to type is what the program takes: commands and flags, the sample
// configuration, npm scripts, and links to files.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { parseArguments } from '../../src/cli/command.js';
import { COMMANDS } from '../../src/cli/commands.js';
import { loadConfig } from '../../src/config/load.js';

const README = readFileSync('README.md', 'utf8');
const DOCUMENTS = { README, CONTRIBUTING: readFileSync('CONTRIBUTING.md', 'utf8') };

function codeBlocks(text: string, language: string): string[] {
  return [...text.matchAll(new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``, 'g'))].map(match => match[1] ?? '');
}

test('commands in shell blocks parse, and no command is missing', () => {
  const shown = new Set<string>();
  for (const line of codeBlocks(README, 'sh').join('\n').split('\n')) {
    const words = /(?:^|\s)npx underspan (.+?)\s*(?:#.*)?$/.exec(line)?.[1]?.replace(/'/g, '').split(/\s+/);
    if (words === undefined) continue;
    const command = COMMANDS.find(({ name }) => words.join(' ').startsWith(name));
    assert.ok(command, `${line}: no such command`);
    parseArguments(command, words.slice(command.name.split(' ').length));
    shown.add(command.name.split(' ')[0] as string);
  }
  assert.deepEqual([...shown].sort(), ['config', 'doctor', 'record', 'replay', 'trace']);
});

test('the sample configuration is one', () => {
  const [sample, ...others] = codeBlocks(README, 'yaml');
  assert.ok(sample !== undefined && others.length === 0);
  const folder = mkdtempSync(join(tmpdir(), 'underspan-readme-'));
  try {
    const file = join(folder, 'sample.yaml');
    writeFileSync(file, sample);
    const { config, warnings } = loadConfig({ file, environment: {} });
    assert.deepEqual(warnings, []);
    assert.deepEqual(config.traces.exporters, ['otlp']);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('npm scripts that are named exist', () => {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };
  for (const [name, text] of Object.entries(DOCUMENTS)) {
    const named = [...text.matchAll(/\bnpm (?:run (\w+)|(test|start))/g)].map(match => match[1] ?? match[2] ?? '');
    assert.ok(named.length > 2, name);
    for (const script of named) assert.ok(script in scripts, `${name}.md: npm run ${script}`);
  }
});

test('links lead to files', () => {
  for (const [name, text] of Object.entries(DOCUMENTS)) {
    for (const [, target = ''] of text.matchAll(/\]\((?!https?:)([^)#]+)\)/g)) {
      assert.ok(existsSync(target), `${name}.md: ${target} does not exist`);
    }
  }
});
