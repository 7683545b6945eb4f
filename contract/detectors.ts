/**
 * Content detectors that `masking[].detectors` may name. What each finds and how it checks stands in docs/masking.md.
 * Names of people, addresses and amounts have no pattern: they are masked by column only.
 */
export const detectorNames = [
  'us-ssn', 'us-itin', 'us-ein', 'payment-card', 'card-security', 'us-bank-routing', 'us-bank-account', 'iban', 'email', 'phone', 'date-of-birth',
  'us-driver-license', 'passport', 'ip-address', 'device-id', 'secret',
] as const;

/** Name of a content detector, as policies use it. */
export type DetectorName = (typeof detectorNames)[number];
