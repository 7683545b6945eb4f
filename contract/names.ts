/** API group of every Sallyport resource. @public for the operator and the CLI */
export const apiGroup = 'sallyport.dev';
/** `apiVersion` of every resource. */
export const apiVersion = 'sallyport.dev/v1alpha1';

/** Annotation on a Target that fixes its listener port in directory mode; in a cluster the operator assigns ports. */
export const listenPortAnnotation = 'sallyport.dev/listen-port';
