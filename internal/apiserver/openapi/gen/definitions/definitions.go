// Package definitions holds the OpenAPI definitions of the API's Go types while
// documents are generated: the generator builds itself anew with this file
// overlaid by the output of openapi-gen. As it stands here it holds none, so
// that megabytes of generated code need not be kept.
package definitions

import "k8s.io/kube-openapi/pkg/common"

// GetOpenAPIDefinitions returns the definitions by model name, or nil.
func GetOpenAPIDefinitions(common.ReferenceCallback) map[string]common.OpenAPIDefinition { return nil }
