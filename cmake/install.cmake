# SPDX-License-Identifier: BSL-1.0
# Installs the headers, the CMake package and the pkg-config file.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(syncline_package_dir "${CMAKE_INSTALL_DATADIR}/cmake/syncline")

install(TARGETS syncline EXPORT syncline-targets FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT syncline-targets NAMESPACE syncline:: DESTINATION "${syncline_package_dir}")

configure_package_config_file(
    "${CMAKE_CURRENT_LIST_DIR}/syncline-config.cmake.in" "${PROJECT_BINARY_DIR}/syncline-config.cmake"
    INSTALL_DESTINATION "${syncline_package_dir}"
    NO_SET_AND_CHECK_MACRO)
# Below 1.0 each minor version may break the sources of the one before.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/syncline-config-version.cmake"
    COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/syncline-config.cmake" "${PROJECT_BINARY_DIR}/syncline-config-version.cmake"
        DESTINATION "${syncline_package_dir}")

# Paths relative to the file itself, so that an installed tree can be moved.
file(RELATIVE_PATH syncline_pc_prefix "/prefix/${CMAKE_INSTALL_DATADIR}/pkgconfig" "/prefix")
configure_file("${CMAKE_CURRENT_LIST_DIR}/syncline.pc.in" "${PROJECT_BINARY_DIR}/syncline.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/syncline.pc" DESTINATION "${CMAKE_INSTALL_DATADIR}/pkgconfig")

install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DATADIR}/licenses/syncline")
