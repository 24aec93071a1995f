# SPDX-License-Identifier: BSL-1.0
# An overlay port: it builds the sources that it lies in. vcpkg install syncline --overlay-ports=packaging/vcpkg/ports
get_filename_component(SOURCE_PATH "${CMAKE_CURRENT_LIST_DIR}/../../../.." ABSOLUTE)
set(VCPKG_BUILD_TYPE release)  # header-only

vcpkg_cmake_configure(
    SOURCE_PATH "${SOURCE_PATH}"
    OPTIONS
        -DSYNCLINE_BUILD_TESTS=OFF
        -DSYNCLINE_BUILD_EXAMPLES=OFF
        -DSYNCLINE_BUILD_BENCHMARKS=OFF
)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(PACKAGE_NAME syncline CONFIG_PATH share/cmake/syncline)
vcpkg_fixup_pkgconfig()
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
