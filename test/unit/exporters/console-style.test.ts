import assert from 'node:assert/strict';
import test from 'node:test';
import { Style } from '../../../src/exporters/console-style.js';

function isColor(isTerminal: boolean, env: Record<string, string>, color?: boolean): boolean {
  return new Style({ isTerminal, env, ...(color !== undefined && { color }) }).isColor;
}

test('colour only on terminals that want it; flags win', () => {
  assert.equal(isColor(true, { TERM: 'xterm' }), true);
  assert.equal(isColor(false, { TERM: 'xterm' }), false);
  assert.equal(isColor(true, { TERM: 'dumb' }), false);
  assert.equal(isColor(true, { NO_COLOR: '1' }), false);
  assert.equal(isColor(true, { NO_COLOR: '' }), true);
  assert.equal(isColor(false, { FORCE_COLOR: '1' }), true);
  assert.equal(isColor(true, { NO_COLOR: '1', FORCE_COLOR: '1' }), false);
  assert.equal(isColor(false, {}, true), true);
  assert.equal(isColor(true, {}, false), false);
});

test('without colour nothing but the text comes out', () => {
  const style = new Style({ isTerminal: false, env: {} });
  assert.equal(style.paint('text', 'alarm'), 'text');
});

test('ASCII where the locale is set to something other than UTF-8', () => {
  const isUnicode = (env: Record<string, string>) => new Style({ isTerminal: true, env }).isUnicode;
  assert.equal(isUnicode({}), true);
  assert.equal(isUnicode({ LANG: 'de_DE.UTF-8' }), true);
  assert.equal(isUnicode({ LANG: 'C.utf8' }), true);
  assert.equal(isUnicode({ LANG: 'C' }), false);
  assert.equal(isUnicode({ LC_ALL: 'POSIX', LANG: 'de_DE.UTF-8' }), false);
});
