import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { parseCgroup, parseCgroupPath } from '../../../src/enrichment/container.js';

const ID = '3f1c9b6e0a7d4852b1c0e9f8a7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c5b4';
const INNER = 'aaaabbbbccccddddeeeeffff0000111122223333444455556666777788889999';
const UID = '0e6b5b3a-1c2d-4e5f-8a9b-0c1d2e3f4a5b';
const UID_SLICE = UID.replaceAll('-', '_');

interface Case {
  readonly what: string;
  readonly path: string;
  readonly id?: string;
  readonly name?: string;
  readonly pod?: string;
  readonly unit?: string;
}

const CASES: readonly Case[] = [
  { what: 'Docker, cgroupfs', path: `/docker/${ID}`, id: ID },
  { what: 'Docker, systemd', path: `/system.slice/docker-${ID}.scope`, id: ID },
  { what: 'Docker with systemd inside', path: `/docker/${ID}/system.slice/shop.service`, id: ID, unit: 'shop' },
  { what: 'Docker in Docker', path: `/docker/${ID}/docker/${INNER}`, id: INNER },
  { what: 'Docker seen from another cgroup namespace', path: `/../docker-${ID}.scope`, id: ID },
  { what: 'nerdctl', path: `/system.slice/nerdctl-${ID}.scope`, id: ID },
  { what: 'containerd, cgroupfs', path: `/kubepods/burstable/pod${UID}/${ID}`, id: ID, pod: UID },
  {
    what: 'containerd, systemd',
    path: `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UID_SLICE}.slice/cri-containerd-${ID}.scope`,
    id: ID,
    pod: UID,
  },
  {
    what: 'containerd, systemd path below its own service',
    path: `/system.slice/containerd.service/kubepods-burstable-pod${UID_SLICE}.slice:cri-containerd:${ID}`,
    id: ID,
    pod: UID,
  },
  {
    what: 'static pod',
    path: `/kubepods/pod0123456789abcdef0123456789abcdef/${ID}`,
    id: ID,
    pod: '0123456789abcdef0123456789abcdef',
  },
  {
    what: 'CRI-O',
    path: `/kubepods.slice/kubepods-pod${UID_SLICE}.slice/crio-${ID}.scope/container`,
    id: ID,
    pod: UID,
  },
  { what: 'CRI-O monitor', path: `/kubepods.slice/kubepods-pod${UID_SLICE}.slice/crio-conmon-${ID}.scope`, pod: UID },
  { what: 'Podman', path: `/machine.slice/libpod-${ID}.scope/container`, id: ID },
  {
    what: 'Podman without root',
    path: `/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${ID}.scope`,
    id: ID,
  },
  { what: 'Podman monitor', path: `/machine.slice/libpod-conmon-${ID}.scope` },
  {
    what: 'ECS on Fargate',
    path: '/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-1234567890',
    id: '0123456789abcdef0123456789abcdef-1234567890',
  },
  { what: 'LXC 4', path: '/lxc.payload.web/system.slice/nginx.service', id: 'web', name: 'web', unit: 'nginx' },
  { what: 'LXC 3', path: '/lxc/web', id: 'web', name: 'web' },
  { what: 'LXC monitor', path: '/lxc.monitor.web' },
  { what: 'systemd-nspawn', path: '/machine.slice/systemd-nspawn@web.service/payload', id: 'web', name: 'web' },
  { what: 'systemd machine', path: '/machine.slice/machine-web\\x2d1.scope', id: 'web-1', name: 'web-1' },
  { what: 'virtual machine', path: '/machine.slice/machine-qemu\\x2d1\\x2dvm.scope' },
  { what: 'systemd service', path: '/system.slice/shop.service', unit: 'shop' },
  { what: 'instance of a template', path: '/system.slice/system-shop.slice/shop@eu.service', unit: 'shop' },
  { what: 'login session', path: '/user.slice/user-1000.slice/session-3.scope' },
  { what: 'terminal of a user', path: '/user.slice/user-1000.slice/user@1000.service/app.slice/term.scope' },
  { what: 'root', path: '/' },
];

for (const { what, path, id, name, pod, unit } of CASES) {
  test(`${what}: ${path}`, () => {
    assert.deepEqual(parseCgroupPath(path), {
      path,
      containerId: id ?? '',
      containerName: name ?? '',
      podUid: pod ?? '',
      unit: unit ?? '',
    });
  });
}

test('version 1: the hierarchy that names the container counts, whatever the others say', () => {
  const text = `12:pids:/user.slice/a/much/longer/path/than/that/of/the/container/${'x'.repeat(90)}\n3:memory:/docker/${ID}\n0::/\n`;
  assert.equal(parseCgroup(text).containerId, ID);
  assert.equal(parseCgroup(text).path, `/docker/${ID}`);
});

test('version 2 has one line', () => {
  assert.equal(parseCgroup(`0::/system.slice/docker-${ID}.scope\n`).containerId, ID);
});

test('any text is accepted', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 400 }), text => {
      const facts = parseCgroup(text);
      assert.ok(facts.containerId.length <= text.length);
    }),
    { numRuns: 500 },
  );
});
