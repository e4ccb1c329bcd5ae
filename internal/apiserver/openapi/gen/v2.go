package main

import (
	"k8s.io/kube-openapi/pkg/builder"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"clipper/internal/apiserver/openapi/gen/definitions"
)

// documentV2 is the one document of version 2, for clients that read no other.
func documentV2(all []document, kinds modelKinds) (*spec.Swagger, error) {
	return builder.BuildOpenAPISpecFromRoutes([]common.RouteContainer{container{all}}, &common.Config{
		ProtocolList:    []string{"https"},
		Info:            info(),
		CommonResponses: map[int]spec.Response{401: {ResponseProps: spec.ResponseProps{Description: "Unauthorized"}}},
		SecurityDefinitions: &spec.SecurityDefinitions{"BearerToken": {SecuritySchemeProps: spec.SecuritySchemeProps{
			Type: "apiKey", Name: "authorization", In: "header", Description: "Bearer Token authentication",
		}}},
		DefaultSecurity:                []map[string][]string{{"BearerToken": {}}},
		GetDefinitions:                 definitions.GetOpenAPIDefinitions,
		GetDefinitionName:              kinds.named(nil),
		GetOperationIDAndTagsFromRoute: operationID,
		PostProcessSpec: func(s *spec.Swagger) (*spec.Swagger, error) {
			for name, d := range s.Definitions {
				s.Definitions[name] = pruneDefaults(d)
			}
			return s, nil
		},
	})
}

func info() *spec.Info {
	return &spec.Info{InfoProps: spec.InfoProps{Title: "Kubernetes", Version: version}}
}
