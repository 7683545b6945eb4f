import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { clusterOf } from './cluster.ts';
import { openRawApi, type RawApi } from './raw-api.ts';

const script = fileURLToPath(new URL('../node/cluster.sh', import.meta.url));

/** A control plane of one's own: API server and controller manager are real, nothing runs pods. */
export interface ControlPlane extends AsyncDisposable {
  readonly api: RawApi;
  /** As `Cluster.apiServer()` gives it. */
  readonly access: { readonly server: string; readonly ca: string; readonly token: string };
}

/**
 * Starts a control plane beside the shared node, for scenarios that must change what the shared node depends on, such as its admission policies.
 *
 * @throws when it does not start; what was started is ended then.
 */
export async function startControlPlane(): Promise<ControlPlane> {
  const root = mkdtempSync(join(tmpdir(), 'sallyport-plane-'));
  const state = join(root, 'node');
  const environment = { NODE_STATE: state, NODE_KUBELET: 'no' };
  const run = (...args: readonly string[]): void => void execFileSync(script, args, { env: { ...process.env, ...environment }, stdio: ['ignore', 'ignore', 'pipe'] });
  const endNow = (): void => run('down');
  process.once('exit', endNow);
  const end = (): void => {
    process.removeListener('exit', endNow);
    endNow();
    rmSync(root, { recursive: true, force: true });
  };
  try {
    run('up');
    run('start', 'relay', process.execPath, '--disable-warning=ExperimentalWarning', fileURLToPath(new URL('../node/relay.ts', import.meta.url)), join(state, 'relay.sock'));
    await answers(join(state, 'relay.sock'));
    const cluster = clusterOf({
      script, environment, state, bin: '', adminToken: 'admin-token', initPid: Number(readFileSync(join(state, 'init.pid'), 'utf8')),
      image: { repository: '', tag: '' }, issuer: { url: '', audience: '', ca: '', key: {} },
    });
    const { close, ...access } = await cluster.apiServer();
    const api = openRawApi(access);
    return {
      api, access,
      async [Symbol.asyncDispose]() {
        await api.close();
        close();
        end();
      },
    };
  } catch (error) {
    end();
    throw error;
  }
}

/** Waits, at most 10 s, until something takes connections there. */
async function answers(path: string): Promise<void> {
  for (let left = 200; ; left -= 1) {
    const error = await new Promise<Error | null>((resolve) => {
      const socket = connect(path, () => resolve(null)).once('error', resolve);
      socket.once('connect', () => socket.destroy());
    });
    if (error === null) return;
    if (left === 0) throw error;
    await delay(50);
  }
}
