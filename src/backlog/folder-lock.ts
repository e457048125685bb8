// One agent per folder: whoever listens on the unix socket `lock` in it owns it. The kernel lets go of a socket whose
// process was killed, so what is left of a dead agent is told from a living one by connecting; that holds across pid and
// network namespaces, where a process id in a file would not.
import { lstat, open, unlink } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Two agents that clean up after a third at the same moment: the one whose socket was taken away notices after this. */
const SETTLE_MS = 50;

export interface FolderLock {
  release(): Promise<void>;
}

/** Null if another agent has it. Rejects if the folder cannot be written to. */
export async function lockFolder(folder: string): Promise<FolderLock | null> {
  // A path through a descriptor, since a socket's own may have 107 bytes only. Node unlinks it when the socket is closed.
  const directory = await open(folder, 'r');
  const server = await own(`/proc/self/fd/${directory.fd}/lock`).catch(async error => {
    await directory.close();
    throw error;
  });
  if (server === null) {
    await directory.close();
    return null;
  }
  return {
    release: async () => {
      await new Promise<void>(resolve => {
        server.close(() => resolve());
      });
      await directory.close();
    },
  };
}

async function own(path: string): Promise<Server | null> {
  let server = await listen(path);
  if (server === null) {
    if (await isAlive(path)) return null;
    await unlink(path).catch(() => undefined);
    server = await listen(path);
    if (server === null) return null;
  }
  const own = (await lstat(path)).ino;
  await sleep(SETTLE_MS);
  const found = await lstat(path).catch(() => null);
  // Not closed where it is lost: that would unlink the winner's.
  return found?.ino === own ? server : null;
}

/** Null if there is a socket already. */
function listen(path: string): Promise<Server | null> {
  return new Promise((resolve, reject) => {
    const server = createServer(client => client.destroy());
    server.unref();
    server.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(null);
      else reject(error);
    });
    server.listen(path, () => resolve(server));
  });
}

function isAlive(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const client = connect(path, () => {
      client.destroy();
      resolve(true);
    });
    client.on('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'));
  });
}
