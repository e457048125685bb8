import assert from 'node:assert/strict';
import test from 'node:test';
import { parseResourceAttributes, resourceAttribute } from '../../../src/enrichment/resource-attributes.js';

test('pairs are split at commas, trimmed and percent-decoded', () => {
  assert.deepEqual(parseResourceAttributes('service.name=shop, team = a%2Cb ,url=x=y,'), [
    ['service.name', 'shop'],
    ['team', 'a,b'],
    ['url', 'x=y'],
  ]);
});

test('a value with an error is discarded whole', () => {
  for (const text of ['a=b,c', 'a=b,=c', 'a=b,c=%zz', Array.from({ length: 65 }, (_, i) => `k${i}=v`).join(',')]) {
    assert.deepEqual(parseResourceAttributes(text), [], text);
  }
  assert.deepEqual(parseResourceAttributes(''), []);
});

test('one attribute is found by its whole key', () => {
  assert.equal(resourceAttribute('my.service.name=x,service.name=shop', 'service.name'), 'shop');
  assert.equal(resourceAttribute('my.service.name=x', 'service.name'), '');
});
