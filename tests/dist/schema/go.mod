// Holds Kubernetes manifests against the schemas that their own projects publish. The last two are not
// linked: tests/dist/build.sh takes schema files out of them, and go.sum says which bytes those are.
module etcd-rescue/tests/dist/schema

go 1.26

require (
	github.com/prometheus-operator/prometheus-operator v0.85.0
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.2
	sigs.k8s.io/kubectl-validate v0.0.4
	sigs.k8s.io/yaml v1.6.0
)

require (
	go.yaml.in/yaml/v2 v2.4.2 // indirect
	golang.org/x/text v0.28.0 // indirect
)
