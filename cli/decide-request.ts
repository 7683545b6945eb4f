import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import type { ApprovalRequestView } from '../contract/approval-api.ts';
import { decideInCluster } from './cluster/decide.ts';
import { type CommandIo, gatewayClient, gatewayFlags, gatewayHelp, reportFailure } from './gateway-client.ts';
import { clusterFlags, clusterHelp, findCluster } from './kubectl.ts';
import { showRequest } from './show-request.ts';

/**
 * `sallyport approve`, `sallyport deny` and `sallyport revoke`: shows the request whole, asks, and sends the decision with the digest of what was shown, so that nothing else can be decided.
 *
 * @returns 0 decided, 1 refused or unreachable, 2 wrong usage, 3 not confirmed.
 */
export async function decideRequest(decision: 'approve' | 'deny' | 'revoke', argv: readonly string[], io: CommandIo): Promise<number> {
  const args = readArgs(argv);
  if (args?.values.help === true) {
    io.stdout.write(helpOf(decision));
    return 0;
  }
  const [name] = args?.positionals ?? [];
  const reason = args?.values.reason ?? args?.values.comment ?? '';
  if (args === null || name === undefined || args.positionals.length > 1 || reason.length > 1024) return usage(decision, io, 'the arguments are not valid');
  if (decision === 'deny' && reason.trim() === '') return usage(decision, io, 'a denial needs a reason: the requester sees it');
  const { values } = args;
  try {
    const kubectl = await findCluster({ values, io });
    if (kubectl !== null) {
      const confirm = async (): Promise<boolean> => decision !== 'approve' || values.yes === true || isConfirmed(io);
      const status = await decideInCluster(kubectl, io, { decision: spoken[decision], name, comment: reason, json: values.json === true, confirm });
      return status === 3 ? notConfirmed(io) : status;
    }
    const gateway = await gatewayClient({ gateway: values.gateway, tokenFile: values['token-file'], tokenCommand: values['token-command'], caFile: values['ca-file'] }, io.env);
    if (decision === 'revoke') {
      const ended = await gateway.end(name, reason);
      io.stdout.write(values.json === true ? `${JSON.stringify(ended, null, 2)}\n` : `${resultLine(ended)}\n`);
      return 0;
    }
    const request = await gateway.request(name);
    if (values.json !== true) io.stdout.write(`${showRequest(request, Date.now())}\n`);
    if (decision === 'approve' && values.yes !== true && !(await isConfirmed(io))) return notConfirmed(io);
    const decided = await gateway.decide(name, { decision, reason, digest: request.digest });
    io.stdout.write(values.json === true ? `${JSON.stringify(decided, null, 2)}\n` : `${resultLine(decided)}\n`);
    return 0;
  } catch (error) {
    return reportFailure(io, error);
  }
}

const spoken = { approve: 'Approve', deny: 'Deny', revoke: 'Revoke' } as const;

const about = {
  approve: 'approves it after a question. You approve exactly what is shown, once', deny: 'denies it', revoke: 'ends what it grants; a live session that rests on it ends too',
} as const;

function helpOf(decision: 'approve' | 'deny' | 'revoke'): string {
  return `sallyport ${decision} NAME [options]

Shows the request NAME as the gateway or the cluster holds it and ${about[decision]}.

  --reason TEXT          ${decision === 'deny' ? 'why; the requester sees it (required)' : 'kept with the decision'}; --comment is the same
  --yes                  do not ask
  --json                 print the decided request as JSON
${gatewayHelp}
${clusterHelp}
`;
}

/** Without a terminal nobody can have read the request, so `--yes` must say it. */
async function isConfirmed(io: CommandIo): Promise<boolean> {
  if (io.stdin?.isTTY !== true) return false;
  io.stdout.write('Approve this? [y/N] ');
  const terminal = createInterface({ input: io.stdin });
  const { promise, resolve } = Promise.withResolvers<string>();
  // The end of the input comes after its last line, so the first of the two is the answer.
  terminal.once('line', resolve).once('close', () => resolve(''));
  const answer = await promise;
  terminal.close();
  return /^y(es)?$/i.test(answer.trim());
}

function notConfirmed(io: CommandIo): number {
  io.stderr.write(io.stdin?.isTTY === true ? 'not approved\n' : 'error: USAGE: nobody can be asked without a terminal\nhint: read the request, then add --yes\n');
  return 3;
}

function resultLine(request: ApprovalRequestView): string {
  const rest = request.phase === 'Pending' ? `; ${request.required - request.approvals} more approval(s) needed` : '';
  return `${request.name} is now ${request.phase} (${request.approvals}/${request.required})${rest}`;
}

function readArgs(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], allowPositionals: true, options: { ...gatewayFlags, ...clusterFlags, reason: { type: 'string' }, comment: { type: 'string' }, yes: { type: 'boolean', short: 'y' }, json: { type: 'boolean' } } });
  } catch {
    return null;
  }
}

function usage(decision: string, io: CommandIo, what: string): number {
  io.stderr.write(`error: USAGE: ${what}\nhint: sallyport ${decision} --help\n`);
  return 2;
}
