/** Unit tests stand beside the code and open no socket; e2e tests run real servers and clients; cluster tests run on a real Kubernetes node that the global setup starts. */
const shared = {
  testEnvironment: 'node',
  transform: {},
  extensionsToTreatAsEsm: ['.ts'],
  moduleFileExtensions: ['ts', 'js', 'json'],
  modulePathIgnorePatterns: ['<rootDir>/dist/'],
};
const never = ['/node_modules/', '/dist/'];

export default {
  reporters: ['default', '<rootDir>/tools/totals-reporter.ts'],
  projects: [
    { ...shared, displayName: 'unit', testMatch: ['<rootDir>/**/*.test.ts'], testPathIgnorePatterns: [...never, '\\.(?:e2e|cluster)\\.test\\.ts$'], setupFiles: ['<rootDir>/tools/testkit/no-sockets.ts'] },
    { ...shared, displayName: 'e2e', testMatch: ['<rootDir>/**/*.e2e.test.ts'], testPathIgnorePatterns: never, setupFiles: ['<rootDir>/tools/testkit/allow-sockets.ts'], setupFilesAfterEnv: ['<rootDir>/tools/testkit/e2e-timeout.ts'] },
    { ...shared, displayName: 'cluster', testMatch: ['<rootDir>/**/*.cluster.test.ts'], testPathIgnorePatterns: never, setupFiles: ['<rootDir>/tools/testkit/allow-sockets.ts'], setupFilesAfterEnv: ['<rootDir>/tools/testkit/e2e-timeout.ts'], globalSetup: '<rootDir>/e2e/cluster/global-setup.ts', globalTeardown: '<rootDir>/e2e/cluster/global-teardown.ts' },
  ],
};
