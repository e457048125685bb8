// config/schema.json and config/underspan.yaml say what the schema says. After a change of the schema:
// node dist/src/config/generate.js
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { parse } from 'yaml';
import { VARIABLES } from '../../../src/config/environment.js';
import { fileLayer } from '../../../src/config/file.js';
import { renderJsonSchema } from '../../../src/config/json-schema.js';
import { loadConfig } from '../../../src/config/load.js';
import { renderSample } from '../../../src/config/render.js';

const SAMPLE = 'config/underspan.yaml';

test('config/schema.json is what the schema gives', () => {
  assert.equal(readFileSync('config/schema.json', 'utf8'), renderJsonSchema());
});

test('config/underspan.yaml is what the schema gives', () => {
  assert.equal(readFileSync(SAMPLE, 'utf8'), renderSample());
});

test('config/underspan.yaml changes nothing', () => {
  const fromFile = loadConfig({ file: SAMPLE, environment: {} });
  const fromNothing = loadConfig({ environment: {} });
  assert.deepEqual(fromFile.warnings, []);
  assert.deepEqual(fromFile.config, fromNothing.config);
});

test('every commented example of config/underspan.yaml is valid where it stands', () => {
  const lines = readFileSync(SAMPLE, 'utf8').split('\n');
  let examples = 0;
  for (const [index, line] of lines.entries()) {
    const match = /^( *)# (([a-z_]+): [[{h].*)$/.exec(line);
    if (match === null) continue;
    examples++;
    // The example takes the place of the default above it.
    const isDefaultAbove = lines[index - 1]!.startsWith(`${match[1]}${match[3]}:`);
    const kept = lines.slice(0, isDefaultAbove ? index - 1 : index);
    const text = [...kept, `${match[1]}${match[2]}`, ...lines.slice(index + 1)].join('\n');
    assert.notDeepEqual(parse(text), parse(lines.join('\n')), line);
    const problems: string[] = [];
    fileLayer('sample', text, problem => problems.push(problem));
    assert.deepEqual(problems, [], line);
  }
  assert.equal(examples, 8);
});

test('no two fields share a variable of ours', () => {
  const own = VARIABLES.filter(variable => !variable.isStandard).map(variable => variable.name);
  assert.equal(new Set(own).size, own.length);
  assert.ok(own.includes('UNDERSPAN_KERNEL_MAX_CONNECTIONS'));
});
