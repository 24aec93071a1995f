# SPDX-License-Identifier: BSL-1.0
import os
import re

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.files import copy, load

required_conan_version = ">=2.0"


class SynclineConan(ConanFile):
    name = "syncline"
    description = "Offline-first synchronisation for C++20"
    license = "BSL-1.0"
    topics = ("offline-first", "synchronization", "replication", "crdt", "outbox", "header-only")
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    exports_sources = "include/*", "LICENSE"
    no_copy_source = True

    def set_version(self):
        config = load(self, os.path.join(self.recipe_folder, "include/syncline/core/config.hpp"))
        parts = (re.search(rf"#define SYNCLINE_VERSION_{p} (\d+)", config).group(1) for p in ("MAJOR", "MINOR", "PATCH"))
        self.version = ".".join(parts)

    def validate(self):
        if self.settings.get_safe("compiler.cppstd"):
            check_min_cppstd(self, 20)

    def package(self):
        copy(self, "LICENSE", src=self.source_folder, dst=os.path.join(self.package_folder, "licenses"))
        copy(self, "*.hpp", src=os.path.join(self.source_folder, "include"),
             dst=os.path.join(self.package_folder, "include"))

    def package_id(self):
        self.info.clear()

    def package_info(self):
        self.cpp_info.bindirs = []
        self.cpp_info.libdirs = []
        self.cpp_info.set_property("cmake_file_name", "syncline")
        self.cpp_info.set_property("cmake_target_name", "syncline::syncline")
        self.cpp_info.set_property("pkg_config_name", "syncline")
