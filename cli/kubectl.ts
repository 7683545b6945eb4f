import { spawn } from 'node:child_process';
import { printableText } from '../contract/printable-text.ts';
import { type CommandIo, GatewayError } from './gateway-client.ts';

/** Options that choose a cluster, for `util.parseArgs`; as kubectl has them. */
export const clusterFlags = { namespace: { type: 'string', short: 'n' }, context: { type: 'string' }, kubeconfig: { type: 'string' } } as const;

/** Their lines in a command's help. */
export const clusterHelp = `  -n, --namespace NAME   in a cluster: the namespace (default: that of the current context)
  --context NAME         in a cluster: the kubeconfig's context
  --kubeconfig FILE      in a cluster: the kubeconfig

Without --gateway, --token-file, --token-command, SALLYPORT_GATEWAY and SALLYPORT_TOKEN, and with a kubeconfig that has a current context, the cluster is asked, through your
kubectl and as yourself.`;

/** Which place a command line and an environment speak of. */
export interface PlaceOptions {
  readonly values: {
    readonly gateway?: string | undefined; readonly 'token-file'?: string | undefined; readonly 'token-command'?: string | undefined; readonly 'ca-file'?: string | undefined;
    readonly namespace?: string | undefined; readonly context?: string | undefined; readonly kubeconfig?: string | undefined;
  };
  readonly io: CommandIo;
}

/** The user's kubectl in one cluster and namespace, with the user's own credentials. */
export interface Kubectl {
  /** Runs a command of kubectl and reads its JSON. @throws GatewayError with what kubectl said. */
  json(command: readonly string[], options?: KubectlOptions): Promise<unknown>;
}

/** How one command of kubectl is run. */
export interface KubectlOptions {
  /** Names that a user typed: never read as options. */
  readonly operands?: readonly string[];
  /** Sent to it as JSON. */
  readonly input?: unknown;
  /** A login plugin may have to talk to the user. */
  readonly mayPrompt?: boolean;
}

/** kubectl refused, as one error with the rule of admission or RBAC in its message. */
const refused = 'CLUSTER_REFUSED';
const timeoutMs = 60_000;
const maxOutputBytes = 64 * 1024 * 1024;

/**
 * The cluster that a command is about, or null when it is about a gateway in directory mode. Anything that only a gateway takes chooses the gateway; anything that only a cluster takes, or else
 * a usable current context, chooses the cluster.
 *
 * @throws GatewayError USAGE when both are named.
 */
export async function findCluster({ values, io }: PlaceOptions): Promise<Kubectl | null> {
  const namesCluster = values.namespace !== undefined || values.context !== undefined || values.kubeconfig !== undefined;
  const gatewayFlag = (['gateway', 'token-file', 'token-command', 'ca-file'] as const).find((flag) => values[flag] !== undefined);
  if (namesCluster && gatewayFlag !== undefined) throw new GatewayError('USAGE', `--${gatewayFlag} is for a gateway, --namespace, --context and --kubeconfig are for a cluster`, 'give the options of one of them');
  const flags = [
    ...(values.kubeconfig === undefined ? [] : ['--kubeconfig', values.kubeconfig]), ...(values.context === undefined ? [] : ['--context', values.context]),
    ...(values.namespace === undefined ? [] : ['--namespace', values.namespace]),
  ];
  if (!namesCluster && (gatewayFlag !== undefined || hasText(io.env['SALLYPORT_GATEWAY']) || hasText(io.env['SALLYPORT_TOKEN']))) return null;
  if (!namesCluster && !(await hasContext(io.env))) return null;
  return { json: async (command, options = {}) => parse(await run([...command, ...flags, '--output', 'json', ...(options.operands === undefined ? [] : ['--', ...options.operands])], io, options)) };
}

function hasText(value: string | undefined): boolean {
  return value !== undefined && value !== '';
}

async function hasContext(env: CommandIo['env']): Promise<boolean> {
  const { status, stdout } = await start(['config', 'current-context'], env, { input: null, onError: () => {} });
  return status === 0 && stdout.trim() !== '';
}

async function run(args: readonly string[], io: CommandIo, options: KubectlOptions): Promise<string> {
  const { status, stdout, stderr } = await start(args, io.env, {
    input: options.input === undefined ? null : JSON.stringify(options.input), onError: (text) => (options.mayPrompt === true ? io.stderr.write(text) : undefined),
  });
  if (status === 0) return stdout;
  if (status === null) throw new GatewayError('KUBECTL_MISSING', 'kubectl could not be run, or did not answer within a minute', 'install kubectl and try: kubectl get accessrequests');
  throw refusalOf(stderr);
}

function refusalOf(stderr: string): GatewayError {
  const text = printableText(stderr.trim().slice(0, 2_000));
  const rule = / denied request: (?<rule>[a-z-]+): (?<why>[^\n]*)/.exec(text)?.groups;
  if (/\(NotFound\)/.test(text)) return new GatewayError('APPROVAL_NOT_FOUND', text, 'list the requests with: sallyport requests --all-namespaces');
  if (rule !== undefined) return new GatewayError(refused, `${rule['rule']}: ${rule['why']}`, 'the cluster\'s admission rules guard approvals; see docs/approvals.md');
  return new GatewayError(refused, text === '' ? 'kubectl failed' : text, /forbidden|Forbidden/.test(text) ? 'ask for the role sallyport-approver in this namespace' : 'try the same with kubectl');
}

interface Ended {
  /** Null: it did not run, or had to be ended. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(args: readonly string[], env: CommandIo['env'], options: { readonly input: string | null; readonly onError: (text: string) => unknown }): Promise<Ended> {
  const { promise, resolve } = Promise.withResolvers<Ended>();
  const child = spawn('kubectl', args, { env: { ...env }, stdio: [options.input === null ? 'inherit' : 'pipe', 'pipe', 'pipe'], timeout: timeoutMs, killSignal: 'SIGKILL' });
  const chunks: { readonly stdout: Buffer[]; readonly stderr: Buffer[] } = { stdout: [], stderr: [] };
  let size = 0;
  const collect = (into: Buffer[]) => (chunk: Buffer): void => {
    size += chunk.byteLength;
    if (size > maxOutputBytes) child.kill('SIGKILL');
    else into.push(chunk);
  };
  child.stdout?.on('data', collect(chunks.stdout));
  child.stderr?.on('data', (chunk: Buffer) => {
    collect(chunks.stderr)(chunk);
    options.onError(chunk.toString('utf8'));
  });
  child.stdin?.on('error', () => {});
  child.stdin?.end(options.input ?? '');
  child.on('error', () => resolve({ status: null, stdout: '', stderr: '' }));
  child.on('close', (status) => resolve({ status, stdout: Buffer.concat(chunks.stdout).toString('utf8'), stderr: Buffer.concat(chunks.stderr).toString('utf8') }));
  return promise;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new GatewayError(refused, 'kubectl did not answer with JSON', 'try the same with kubectl', { cause });
  }
}
