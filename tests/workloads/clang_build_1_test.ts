import { testClangBuild } from "./builds.ts";

testClangBuild(1);
