#!/usr/bin/env node
import { readClusterSettings } from './cluster-settings.ts';
import { serveCluster } from './serve-cluster.ts';

const read = readClusterSettings(process.env);
if (read.outcome === 'rejected') {
  for (const problem of read.problems) process.stderr.write(`sallyport-proxy: ${problem}\n`);
  process.exitCode = 1;
} else {
  process.exitCode = await serveCluster(read.settings);
}
