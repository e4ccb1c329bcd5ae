// Package podspec turns a pod's spec into the configurations that CRI takes:
// of its sandbox and of each run of its containers.
//
// All of it is computation: nothing is read, mounted or started here. What
// comes from elsewhere (ConfigMaps, Secrets, Services, mounted volumes, the
// image) is handed in.
package podspec
