package main

import (
	"k8s.io/kube-openapi/pkg/builder3"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/spec3"

	"clipper/internal/apiserver/openapi/gen/definitions"
)

// documentV3 is one document of version 3.
func documentV3(d document, kinds modelKinds) (*spec3.OpenAPI, error) {
	return builder3.BuildOpenAPISpecFromRoutes([]common.RouteContainer{container{[]document{d}}}, &common.OpenAPIV3Config{
		Info:            info(),
		CommonResponses: map[int]*spec3.Response{401: {ResponseProps: spec3.ResponseProps{Description: "Unauthorized"}}},
		SecuritySchemes: spec3.SecuritySchemes{"BearerToken": {SecuritySchemeProps: spec3.SecuritySchemeProps{
			Type: "apiKey", Name: "authorization", In: "header", Description: "Bearer Token authentication",
		}}},
		GetDefinitions:                 definitions.GetOpenAPIDefinitions,
		GetDefinitionName:              kinds.named(d.gv),
		GetOperationIDAndTagsFromRoute: operationID,
	})
}
