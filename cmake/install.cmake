# What `cmake --install` puts where. The tree that results may be moved: its parts find each other relative to themselves.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(HVD_INSTALL_PACKAGE ${CMAKE_INSTALL_LIBDIR}/cmake/horovod_cpp)
set(HVD_INSTALL_SHARE ${CMAKE_INSTALL_DATADIR}/horovod_cpp)

# The launcher, the core, and what loads at run time: plugin_loader looks for plugins beside the core.
file(RELATIVE_PATH from_bin_to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
set_target_properties(hvd_check_build PROPERTIES INSTALL_RPATH $ORIGIN/${from_bin_to_lib})
install(TARGETS horovod_cpp hvdrun EXPORT horovod_cppTargets INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS hvd_check_build)
foreach(plugin hvd_mpi hvd_cuda)
  if(TARGET ${plugin})
    # An MPI that is not in a folder of the system is found where it was when the plugin was built.
    set_target_properties(${plugin} PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
    install(TARGETS ${plugin} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/horovod_cpp)
  endif()
endforeach()

# The public headers of the core: session.h, work.h, world.h, plugin.h, and what they and the LibTorch binding include.
set(HVD_CORE_HEADERS
    base/abort_latch.h base/bell.h base/caches.h base/config.h base/deadline.h base/fingerprint.h base/futex.h base/log.h base/pages.h base/patience.h base/status.h base/text.h base/types.h base/unique_fd.h base/wire.h
    coordinator/declaration.h coordinator/epoch_plan.h coordinator/epoch_words.h coordinator/epochs.h coordinator/process_sets.h coordinator/submission.h coordinator/work_state.h
    ports/clock.h ports/collectives.h ports/device.h ports/memory_exchange.h ports/plugin.h ports/registered_memory.h ports/transport.h
    session.h work.h)
foreach(header ${HVD_CORE_HEADERS})
  get_filename_component(folder ${header} DIRECTORY)
  install(FILES horovod_cpp/${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/horovod_cpp/${folder})
endforeach()
install(DIRECTORY bindings/runtime/include/ bindings/torch/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

# The LibTorch binding, as sources: bindings/torch/package.cmake says why.
install(DIRECTORY bindings/torch DESTINATION ${HVD_INSTALL_SHARE}/bindings FILES_MATCHING PATTERN "*.cpp" PATTERN "*.h"
        PATTERN sources.cmake PATTERN package.cmake PATTERN include EXCLUDE)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

install(EXPORT horovod_cppTargets NAMESPACE horovod_cpp:: DESTINATION ${HVD_INSTALL_PACKAGE})
configure_package_config_file(cmake/horovod_cppConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/cmake/horovod_cppConfig.cmake
                              INSTALL_DESTINATION ${HVD_INSTALL_PACKAGE} PATH_VARS HVD_INSTALL_SHARE
                              NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/cmake/horovod_cppConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/cmake/horovod_cppConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/cmake/horovod_cppConfigVersion.cmake
        DESTINATION ${HVD_INSTALL_PACKAGE})
