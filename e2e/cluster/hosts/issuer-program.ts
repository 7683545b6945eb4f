import { readFileSync } from 'node:fs';
import { type IssuerOptions, startIssuer } from '../../hosts/issuer.ts';

// The issuer as a process of the node, so that pods and the API server reach it: `node issuer-program.ts SETTINGS.json`.
const host = await startIssuer(JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as IssuerOptions);
process.stdout.write(`${host.issuer}\n`);
