// Says of each resource of a JSON file what its published schema has against it: node check.mjs FOLDER FILE
import { readFileSync } from "node:fs";

const [folder, file] = process.argv.slice(2);
const SCHEMAS = {
  Application: "argo-cd/_schemas/ComGithubArgoprojArgoCdV3PkgApisApplicationV1alpha1Application.js",
  ExternalSecret:
    "external-secrets/_schemas/ComGithubExternalSecretsExternalSecretsApisExternalsecretsV1ExternalSecret.js",
  GitRepository: "flux-cd/_schemas/ComGithubFluxcdSourceControllerApiV1GitRepository.js",
  Kustomization: "flux-cd/_schemas/ComGithubFluxcdKustomizeControllerApiV1Kustomization.js",
  Rollout: "argo-rollouts/_schemas/ComGithubArgoprojArgoRolloutsPkgApisRolloutsV1alpha1Rollout.js",
  ScaledObject: "keda/_schemas/ComGithubKedacoreKedaV2ApisKedaV1alpha1ScaledObject.js",
  ServiceMonitor:
    "prometheus-operator/_schemas/ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1ServiceMonitor.js",
  VirtualService: "istio/_schemas/NetworkingIstioIoV1VirtualService.js",
};
const answers = [];
for (const resource of JSON.parse(readFileSync(file))) {
  const { validate } = await import(`${folder}/node_modules/@kubernetes-models/${SCHEMAS[resource.kind]}`);
  validate(resource);
  answers.push((validate.errors ?? []).map((error) => `${error.instancePath} ${error.message ?? error.keyword}`));
}
console.log(JSON.stringify(answers));
