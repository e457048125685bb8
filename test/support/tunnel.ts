// A TCP tunnel in front of a receiver, for what a receiver cannot see of itself: how many connections were made, how many
// bytes were sent, and what happens when the network forgets a connection without telling either end.
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export class Tunnel {
  connections = 0;
  /** From the client to the receiver. */
  sentBytes = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(server: Server, receiverPort: number) {
    this.#server = server;
    server.on('connection', client => {
      this.connections++;
      const receiver = connect(receiverPort, '127.0.0.1');
      client.on('data', (part: Buffer) => {
        this.sentBytes += part.length;
        receiver.write(part);
      });
      receiver.pipe(client);
      for (const socket of [client, receiver]) {
        this.#sockets.add(socket);
        socket.on('error', () => socket.destroy());
      }
      receiver.on('close', () => client.destroy());
      client.on('close', () => receiver.destroy());
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Lets nothing more through on the connections that are open now. */
  silence(): void {
    for (const socket of this.#sockets) socket.removeAllListeners('data').unpipe().resume();
  }

  close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    return new Promise(resolve => {
      this.#server.close(() => resolve());
    });
  }
}

/** On a free loopback port. Close it. */
export async function startTunnel(receiverPort: number): Promise<Tunnel> {
  const server = createServer();
  const tunnel = new Tunnel(server, receiverPort);
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return tunnel;
}
