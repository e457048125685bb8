// Many open connections: each has asked once and then stays. In: a CrowdOrder as argument. Out: `open` once all have been
// answered. A process of its own, which ends with the bench. It may seldom have more than 20,000 files, and one pair of
// addresses has 28,000 ports: each crowd has an address of the server for itself.
import net from 'node:net';

export interface CrowdOrder {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly connections: number;
}

const AT_ONCE = 100;

/** Resolves when the first bytes of the answer are there. */
function open({ host, port, path }: CrowdOrder): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host, port });
    const fail = (error?: Error): void => reject(error ?? new Error(`${host} has closed a connection`));
    socket.on('error', fail);
    socket.on('close', () => fail());
    socket.on('data', () => resolve());
    socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}:${port}\r\n\r\n`);
  });
}

async function openAll(order: CrowdOrder): Promise<void> {
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < order.connections) {
      next++;
      await open(order);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

process.on('SIGTERM', () => process.exit(0));
process.stdin.on('end', () => process.exit(0)).resume();
await openAll(JSON.parse(process.argv[2] ?? '') as CrowdOrder);
process.stdout.write('open\n');
