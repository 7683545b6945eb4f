#!/usr/bin/env node
import { SallyportError } from './core/errors.ts';
import { readClusterSettings } from './cluster-settings.ts';
import { serveCluster } from './serve-cluster.ts';

const read = readClusterSettings(process.env);
if (read.outcome === 'rejected') {
  for (const problem of read.problems) process.stderr.write(`sallyport-proxy: ${problem}\n`);
  process.exitCode = 1;
} else {
  try {
    process.exitCode = await serveCluster(read.settings);
  } catch (error) {
    const code = error instanceof SallyportError ? error.code : 'INTERNAL';
    process.stderr.write(`sallyport-proxy: ${code}: ${error instanceof Error ? error.message : 'unknown'}\n`);
    process.exit(1);
  }
}
