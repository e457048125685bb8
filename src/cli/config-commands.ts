// `underspan config check|print|schema`: what the configuration is, without starting anything.
import { assertDestinations } from '../agent-destinations.js';
import { renderJsonSchema } from '../config/json-schema.js';
import { loadConfig } from '../config/load.js';
import { renderConfig } from '../config/render.js';
import type { Arguments } from './command.js';
import { print, say } from './output.js';
import { settingsFrom } from './settings.js';

export async function configCheckCommand(args: Arguments): Promise<number> {
  const loaded = load(args);
  assertDestinations(loaded.config);
  for (const warning of loaded.warnings) say(`warning: ${warning}`);
  print(`${loaded.file === '' ? 'defaults and environment' : loaded.file}: ok`);
  return 0;
}

export async function configPrintCommand(args: Arguments): Promise<number> {
  const loaded = load(args);
  for (const warning of loaded.warnings) say(`warning: ${warning}`);
  print(renderConfig(loaded.config, loaded.originOf));
  return 0;
}

export async function configSchemaCommand(): Promise<number> {
  print(renderJsonSchema());
  return 0;
}

function load(args: Arguments): ReturnType<typeof loadConfig> {
  const file = args.last('config');
  const settings = settingsFrom(args, 'run');
  return loadConfig({ environment: process.env, settings, ...(file === undefined ? {} : { file }) });
}
