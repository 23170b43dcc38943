// Command schema holds the documents of YAML files against Kubernetes' OpenAPI schemas and prints them
// as one JSON array. What is wrong goes to stderr, and the exit code is 1.
//
// usage: schema DIR FILE...      DIR has batch_v1.json (OpenAPI v3) and prometheusrule.yaml (a CRD)
//
// Stricter than the schemas: a field that is not in them is an error, as it is for kubectl apply.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: schema DIR FILE...")
		os.Exit(2)
	}
	schemas, err := load(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "schemas:", err)
		os.Exit(2)
	}
	failed := false
	all := []any{}
	for _, file := range os.Args[2:] {
		documents, err := split(file)
		for i, text := range documents {
			var document any
			if document, err = check(schemas, text); err != nil {
				err = fmt.Errorf("document %d: %w", i+1, err)
				break
			}
			all = append(all, document)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(all)
}

// By apiVersion and kind.
func load(dir string) (map[string]*jsonschema.Schema, error) {
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft4) // what OpenAPI 3.0 is derived from
	schemas := map[string]*jsonschema.Schema{}

	batch, err := read(filepath.Join(dir, "batch_v1.json"))
	if err != nil {
		return nil, err
	}
	crd, err := read(filepath.Join(dir, "prometheusrule.yaml"))
	if err != nil {
		return nil, err
	}
	for name, resource := range map[string]any{"batch": batch, "crd": crd} {
		if err := compiler.AddResource("mem:///"+name, strict(resource)); err != nil {
			return nil, err
		}
	}
	for kind, place := range map[string]string{
		"batch/v1 CronJob":                        "mem:///batch#/components/schemas/io.k8s.api.batch.v1.CronJob",
		"monitoring.coreos.com/v1 PrometheusRule": "mem:///crd#/spec/versions/0/schema/openAPIV3Schema",
	} {
		if schemas[kind], err = compiler.Compile(place); err != nil {
			return nil, err
		}
	}
	return schemas, nil
}

// Closes every object whose properties are listed. metadata of a custom resource is {"type": "object"}.
func strict(node any) any {
	switch node := node.(type) {
	case map[string]any:
		_, listed := node["properties"].(map[string]any)
		_, open := node["additionalProperties"]
		if listed && !open && node["type"] == "object" {
			node["additionalProperties"] = false
		}
		for _, child := range node {
			strict(child)
		}
	case []any:
		for _, child := range node {
			strict(child)
		}
	}
	return node
}

func read(file string) (any, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return parse(text)
}

// A key that is there twice is an error.
func parse(text []byte) (any, error) {
	converted, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(converted))
}

func split(file string) ([][]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var documents [][]byte
	for _, part := range regexp.MustCompile(`(?m)^---$`).Split(string(text), -1) {
		documents = append(documents, []byte(part))
	}
	return documents, nil
}

func check(schemas map[string]*jsonschema.Schema, text []byte) (any, error) {
	document, err := parse(text)
	if err != nil {
		return nil, err
	}
	object, ok := document.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("not an object")
	}
	kind := fmt.Sprint(object["apiVersion"], " ", object["kind"])
	schema, known := schemas[kind]
	if !known {
		return nil, fmt.Errorf("no schema for %s", kind)
	}
	return document, schema.Validate(document)
}
