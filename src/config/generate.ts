// Writes config/schema.json and config/underspan.yaml from src/config/schema.ts. Run from the root of the checkout:
// node dist/src/config/generate.js
import { writeFileSync } from 'node:fs';
import { renderJsonSchema } from './json-schema.js';
import { renderSample } from './render.js';

writeFileSync('config/schema.json', renderJsonSchema());
writeFileSync('config/underspan.yaml', renderSample());
