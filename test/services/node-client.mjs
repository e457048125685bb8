// node-client.mjs URL... : asks for each in turn over one kept connection and prints the statuses; fails with the first that
// cannot be had. Certificates are not checked.
import http from 'node:http';
import https from 'node:https';

function ask(url) {
  return new Promise((resolve, reject) => {
    const { get, agent } = url.startsWith('https:') ? secure : plain;
    const request = get(url, { agent, rejectUnauthorized: false }, response => {
      response.resume().on('error', reject);
      response.on('end', () => resolve(response.statusCode));
    });
    request.on('error', reject);
  });
}

const options = { keepAlive: true, maxSockets: 1 };
const plain = { get: http.get, agent: new http.Agent(options) };
const secure = { get: https.get, agent: new https.Agent(options) };
for (const url of process.argv.slice(2)) console.log(await ask(url));
plain.agent.destroy();
secure.agent.destroy();
