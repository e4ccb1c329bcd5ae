// Command gen writes the OpenAPI documents that package openapi embeds.
//
// It runs openapi-gen over the packages of the API's types, builds itself again
// with the definitions that gives, and then lays out one document for each
// group version, and one of version 2 for all, from the table of kinds. The
// same input gives the same bytes.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"

	"k8s.io/kube-openapi/pkg/validation/spec"

	"clipper/internal/apiserver/openapi/gen/definitions"
	"clipper/internal/scheme"
)

const (
	definitionsPackage = "clipper/internal/apiserver/openapi/gen/definitions"
	self               = "clipper/internal/apiserver/openapi/gen"
)

func main() {
	var err error
	if definitions.GetOpenAPIDefinitions(noReference) == nil {
		err = generate()
	} else {
		err = write("documents")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "openapi: %v\n", err)
		os.Exit(1)
	}
}

// generate makes the definitions and runs this command again with them.
func generate() error {
	dir, err := os.MkdirTemp("", "openapi-gen-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	header := filepath.Join(dir, "header")
	if err := os.WriteFile(header, nil, 0o600); err != nil {
		return err
	}
	args := []string{
		"run", "k8s.io/kube-openapi/cmd/openapi-gen", "--output-dir", dir, "--output-pkg", definitionsPackage,
		"--output-file", "definitions.go", "--go-header-file", header, "--report-filename", filepath.Join(dir, "report"),
	}
	if err := run("go", append(args, packages(scheme.New())...)...); err != nil {
		return fmt.Errorf("openapi-gen: %w", err)
	}
	stub, err := exec.Command("go", "list", "-f", "{{.Dir}}/definitions.go", definitionsPackage).Output()
	if err != nil {
		return fmt.Errorf("find %s: %w", definitionsPackage, err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{
		"Replace": {string(stub[:len(stub)-1]): filepath.Join(dir, "definitions.go")},
	})
	if err != nil {
		return err
	}
	overlayFile := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		return err
	}
	return run("go", "run", "-overlay", overlayFile, self)
}

func run(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// packages are those of the types that the table names, and of what these are
// made of.
func packages(t *scheme.Table) []string {
	out := []string{
		"k8s.io/apimachinery/pkg/api/resource", "k8s.io/apimachinery/pkg/apis/meta/v1", "k8s.io/apimachinery/pkg/runtime",
		"k8s.io/apimachinery/pkg/util/intstr", "k8s.io/apimachinery/pkg/version",
	}
	for _, r := range t.Resources() {
		out = append(out, reflect.TypeOf(r.New()).Elem().PkgPath())
		for _, s := range r.Subresources {
			if s.Kind.Kind != "" {
				out = append(out, reflect.TypeOf(t.NewObject(s.Kind)).Elem().PkgPath())
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// noReference is for finding out whether there are definitions.
func noReference(string) spec.Ref { return spec.Ref{} }
